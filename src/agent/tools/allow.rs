//! Which URLs the HTTP tool may call. The URL is the model's choice, and with it goes what an operator configured, keys included: whoever writes to
//! the agent may try to lead them elsewhere. So parsed URLs are compared, never their texts.

use reqwest::Url;

/// How a URL was let through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// No URL is configured, so that any goes: configured headers must stay away, and the guard against private addresses decides.
    Any,
    /// It is the configured URL, or in its folder: configured headers may go with it.
    Configured,
}

/// What a configured `url` lets through. `configured` is a whole URL, whose scheme, host, port and path must be equal and whose query must be too if
/// it has one; or one that ends in `/*`, which lets through that folder and what is in it, whatever the query; or nothing, for any `http` or `https`
/// URL. Fragments are ignored, as they are never sent. Send the `url` that was given here and not its text, which others may read differently, and
/// ask again for every redirect. The error is for the model, and names of the configured URL no more than where it leads.
pub fn permits(configured: Option<&str>, url: &Url) -> Result<Scope, String> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("Only http and https URLs can be called.".into());
    }
    if has_credentials(url) {
        return Err("A URL must not contain a user name or a password.".into());
    }
    let Some(configured) = configured.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Scope::Any) };
    let allowed = rule(configured)?;
    let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    if origin(url) != origin(&allowed) {
        return Err(format!("This tool may only call {}.", allowed.origin().ascii_serialization()));
    }
    if is_disguised(url.path()) {
        return Err("The path must not contain encoded slashes or dots, backslashes or empty parts: write it plainly.".into());
    }
    let fits = match allowed.path().strip_suffix("/*") {
        Some(folder) => url.path().strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        None => url.path() == allowed.path() && (allowed.query().is_none() || url.query() == allowed.query()),
    };
    if fits {
        Ok(Scope::Configured)
    } else {
        Err(format!("This tool may call {}, but not this path or query.", allowed.origin().ascii_serialization()))
    }
}

/// The configured URL; an error where it could never let anything through, or more than its author sees in it.
fn rule(configured: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("The tool's configured url is not usable: {why}. Someone who manages the agent has to correct it.");
    if configured.contains('\\') || configured.chars().any(char::is_control) {
        return Err(wrong("it contains a backslash or a control character"));
    }
    let url = Url::parse(configured).map_err(|_| wrong("it is no complete URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    if has_credentials(&url) {
        return Err(wrong("it contains a user name or a password, which belong into a header"));
    }
    let path = url.path().strip_suffix("/*").filter(|_| url.query().is_none()).unwrap_or(url.path());
    if path.contains('*') || url.host_str().is_some_and(|host| host.contains('*')) {
        return Err(wrong("a * only works at its very end, as /*"));
    }
    if is_disguised(url.path()) {
        return Err(wrong("its path contains encoded slashes or dots, or empty parts"));
    }
    Ok(url)
}

fn has_credentials(url: &Url) -> bool {
    // An empty user name leaves only its @, which the parser drops.
    !url.username().is_empty() || url.password().is_some()
}

/// Whether a server may read another path than it seems: the parser resolves `..`, servers may do so once more after decoding, once or twice, or
/// after cutting `;` and what follows off a part. Empty parts are dropped by some servers and kept by others.
fn is_disguised(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let encoded = ["2e", "2f", "5c", "00"].iter().any(|code| lower.contains(&format!("%{code}")) || lower.contains(&format!("%25{code}")));
    let dots = lower.split('/').any(|part| matches!(part.split(';').next(), Some("." | "..")));
    encoded || dots || lower.contains("//") || lower.contains('\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(configured: &str, url: &str) -> Result<Scope, String> {
        permits(Some(configured), &Url::parse(url).expect(url))
    }

    #[test]
    fn nothing_configured() {
        let url = Url::parse("https://example.com/a?b#c").expect("a URL");
        assert_eq!(permits(None, &url), Ok(Scope::Any));
        assert_eq!(permits(Some(" "), &url), Ok(Scope::Any));
        for url in ["ftp://example.com/", "file:///etc/passwd", "data:text/plain,a", "https://user@example.com/", "https://:key@example.com/"] {
            assert!(permits(None, &Url::parse(url).expect(url)).is_err(), "{url}");
        }
    }

    #[test]
    fn one_url() {
        let items = "https://api.acme.com/v1/items";
        for url in [
            "https://api.acme.com/v1/items",
            "https://API.acme.com/v1/items",
            "https://api.acme.com:443/v1/items",
            "https://api.acme.com/v1/items?page=2",
            "https://api.acme.com/v1/items#top",
            "https://api.acme.com/v1/x/../items",
            "https://@api.acme.com/v1/items",
        ] {
            assert_eq!(ask(items, url), Ok(Scope::Configured), "{url}");
        }
        for url in [
            "http://api.acme.com/v1/items",
            "http://api.acme.com:443/v1/items",
            "https://api.acme.com:8443/v1/items",
            "https://api.acme.com./v1/items",
            "https://acme.com/v1/items",
            "https://www.api.acme.com/v1/items",
            "https://api.acme.com.evil.com/v1/items",
            "https://api.acme.com@evil.com/v1/items",
            "https://api.acme.com:443@evil.com/v1/items",
            "https://evil.com/https://api.acme.com/v1/items",
            "https://evil.com\\@api.acme.com/v1/items",
            "https://evil.com#@api.acme.com/v1/items",
            "https://user:password@api.acme.com/v1/items",
            "https://api.acme.com/v1/items/",
            "https://api.acme.com/v1/items/3",
            "https://api.acme.com/v1/Items",
            "https://api.acme.com/v1/item%73",
            "https://api.acme.com/v1/items%2f..",
            "https://api.acme.com/v1//items",
            "https://api.acme.com/v1/items;a",
            "https://api.acme.com/",
        ] {
            assert!(ask(items, url).is_err(), "{url}");
        }
        assert_eq!(ask("http://localhost:80/a", "http://localhost/a"), Ok(Scope::Configured));
        assert_eq!(ask("https://bücher.example/a", "https://xn--bcher-kva.example/a"), Ok(Scope::Configured));
    }

    #[test]
    fn a_query_that_is_configured_must_be_there() {
        let report = "https://api.acme.com/report?key=secret";
        assert_eq!(ask(report, "https://api.acme.com/report?key=secret"), Ok(Scope::Configured));
        for url in ["https://api.acme.com/report", "https://api.acme.com/report?key=other", "https://api.acme.com/report?key=secret&all=1"] {
            assert!(!ask(report, url).expect_err(url).contains("secret"));
        }
    }

    #[test]
    fn a_folder() {
        let public = "https://api.acme.com/public/*";
        for url in [
            "https://api.acme.com/public/",
            "https://api.acme.com/public",
            "https://api.acme.com/public?page=2",
            "https://api.acme.com/public/a/b?c=../d",
            "https://api.acme.com/public/a/../b",
            "https://api.acme.com/public/caf%C3%A9/a.b/..c",
        ] {
            assert_eq!(ask(public, url), Ok(Scope::Configured), "{url}");
        }
        for url in [
            "https://api.acme.com/public-admin",
            "https://api.acme.com/publicadmin/a",
            "https://api.acme.com/Public/a",
            "https://api.acme.com/public/../admin",
            "https://api.acme.com/public/..",
            "https://api.acme.com/public/%2e%2e/admin",
            "https://api.acme.com/public/.%2E/admin",
            "https://api.acme.com/public/..\\..\\admin",
            "https://api.acme.com/public/..%2fadmin",
            "https://api.acme.com/public/..%5Cadmin",
            "https://api.acme.com/public/%252e%252e/admin",
            "https://api.acme.com/public/..;/admin",
            "https://api.acme.com/public/..;a=b/admin",
            "https://api.acme.com/public//admin",
            "https://api.acme.com//public/a",
            "https://api.acme.com/public/a%00",
            "https://api.acme.com/admin?/public/",
            "https://api.acme.com/admin#/public/",
            "https://api.acme.com.evil.com/public/a",
            "https://api.acme.com@evil.com/public/a",
            "https://api.acme.com./public/a",
            "http://api.acme.com/public/a",
            "https://api.acme.com:8443/public/a",
        ] {
            assert!(ask(public, url).is_err(), "{url}");
        }
        for url in ["https://api.acme.com", "https://api.acme.com/a/b"] {
            assert_eq!(ask("https://api.acme.com/*", url), Ok(Scope::Configured), "{url}");
        }
        assert!(ask("https://api.acme.com/*", "https://api.acme.com.evil.com/").is_err());
    }

    #[test]
    fn what_cannot_be_configured() {
        for configured in [
            "api.acme.com/*",
            "*",
            "/*",
            "https://",
            "https://*/a",
            "https://*.acme.com/*",
            "https://api.acme.com*",
            "https://api.acme.com/v1*",
            "https://api.acme.com/*/items",
            "https://api.acme.com/a/*?key=1",
            "https://user:key@api.acme.com/*",
            "https://api.acme.com\\@evil.com/*",
            "https://api.acme.com/a%2f/*",
            "https://api.acme.com//*",
            "ftp://api.acme.com/*",
        ] {
            let error = ask(configured, "https://api.acme.com/a").expect_err(configured);
            assert!(error.contains("configured url") && !error.contains("key"), "{configured}: {error}");
        }
        // What comes after a # is no part of a rule.
        assert!(ask("https://api.acme.com/a#/*", "https://api.acme.com/a/b").is_err());
    }

    proptest! {
        #[test]
        fn no_other_host_passes(before in "[a-z.@:/\\\\#?%0-9\\t]{0,12}", between in "[a-z.@:/\\\\#?%0-9\\t]{0,12}", after in "\\PC{0,20}", known in any::<bool>()) {
            let host = if known { "api.acme.com" } else { "evil.com" };
            for text in [
                format!("https://{before}{host}{between}/public/{after}"),
                format!("https://api.acme.com{between}{host}/public/{after}"),
                format!("https:{before}api.acme.com{between}/public/../{after}"),
            ] {
                let Ok(url) = Url::parse(&text) else { continue };
                if permits(Some("https://api.acme.com/public/*"), &url).is_ok() {
                    prop_assert_eq!(url.scheme(), "https");
                    prop_assert_eq!(url.host_str(), Some("api.acme.com"));
                    prop_assert_eq!(url.port_or_known_default(), Some(443));
                    prop_assert_eq!((url.username(), url.password()), ("", None));
                    prop_assert!(url.path() == "/public" || url.path().starts_with("/public/"));
                }
            }
        }

        #[test]
        fn hosts_are_equal_or_refused(host in "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}\\.?", path in "[a-z]{0,5}") {
            let Ok(url) = Url::parse(&format!("https://{host}/{path}")) else { return Ok(()) };
            prop_assert_eq!(permits(Some("https://api.acme.com/*"), &url).is_ok(), url.host_str() == Some("api.acme.com"));
        }
    }
}
