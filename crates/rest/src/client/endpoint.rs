//! URLs of the server. Pure.

use std::net::IpAddr;

use reqwest::Url;

use super::ConfigError;
use crate::PREFIX;

/// Base URL of a server, without the prefix of the API.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base: Url,
}

impl Endpoint {
    /// Parses the URL of a server.
    ///
    /// # Errors
    /// [`ConfigError::Url`] if the URL has no host, or would send the token in clear text over a network.
    pub(super) fn parse(text: &str, allow_plaintext: bool) -> Result<Self, ConfigError> {
        let refuse = |why: &str| ConfigError::Url { url: text.to_owned(), why: why.to_owned() };
        let mut base = Url::parse(text)
            .map_err(|error| refuse(&format!("{error}; write for example https://meridian.example")))?;
        if !matches!(base.scheme(), "https" | "http") || base.host().is_none() {
            return Err(refuse("write for example https://meridian.example"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refuse("a URL with a password is printed by programs; give a token instead"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refuse("leave out everything from `?` or `#` on"));
        }
        // A user may copy the prefix from an example.
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix(PREFIX).unwrap_or(path).to_owned();
        base.set_path(&path);
        let endpoint = Self { base };
        if endpoint.base.scheme() == "http" && !endpoint.is_loopback() && !allow_plaintext {
            return Err(refuse("the token would be sent in clear text; use https, or --insecure where you must"));
        }
        Ok(endpoint)
    }

    /// Returns whether the server runs on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Returns whether the connection is without TLS.
    pub(super) fn is_plaintext(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Returns the URL of a resource. Each segment is escaped, so a name cannot lead to another resource.
    pub(super) fn url(&self, segments: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().expect("http URLs have paths");
            path.pop_if_empty().extend(PREFIX.trim_matches('/').split('/')).extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_sent_in_clear_text_over_networks() {
        for (url, insecure, accepted) in [
            ("https://meridian.example", false, true),
            ("https://meridian.example:8443/fleet/", false, true),
            ("http://127.0.0.1:8080", false, true),
            ("http://[::1]:8080", false, true),
            ("http://localhost:8080", false, true),
            ("http://localhost.example", false, false),
            ("http://meridian.example", false, false),
            ("http://meridian.example", true, true),
            ("https://me:secret@meridian.example", false, false),
            ("https://meridian.example?x=1", false, false),
            ("ftp://meridian.example", true, false),
            ("meridian.example", false, false),
            ("", false, false),
        ] {
            assert_eq!(Endpoint::parse(url, insecure).is_ok(), accepted, "{url}, insecure {insecure}");
        }
    }

    #[test]
    fn names_do_not_lead_to_other_resources() {
        for (base, segments, query, expected) in [
            ("https://m.example", &["operations"][..], &[][..], "https://m.example/api/v1/operations"),
            ("https://m.example/", &["whoami"], &[], "https://m.example/api/v1/whoami"),
            ("https://m.example/api/v1/", &["whoami"], &[], "https://m.example/api/v1/whoami"),
            ("https://m.example/fleet", &["whoami"], &[], "https://m.example/fleet/api/v1/whoami"),
            ("https://m.example", &["a", "../b/c?d"], &[], "https://m.example/api/v1/a/..%2Fb%2Fc%3Fd"),
            ("https://m.example", &["a"], &[("q", "x&y=z".to_owned())], "https://m.example/api/v1/a?q=x%26y%3Dz"),
        ] {
            let endpoint = Endpoint::parse(base, false).expect("a URL of a server");
            assert_eq!(endpoint.url(segments, query).as_str(), expected);
        }
    }
}
