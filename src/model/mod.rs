//! Types that every floor speaks.

mod clock;
mod secret;

pub use clock::now;
pub use secret::{Credential, Sealer};
