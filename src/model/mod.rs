//! Types that every floor speaks.

mod clock;
mod json;
mod secret;

pub use clock::now;
pub use json::{parse_json, without_nul};
pub use secret::{Credential, Sealer};
