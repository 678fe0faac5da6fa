//! Types that every floor speaks.

mod secret;

pub use secret::{Credential, Sealer};
