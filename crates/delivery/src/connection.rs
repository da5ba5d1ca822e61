//! Converts a Cluster's declared connection to a member configuration.
//!
//! Errors name the field of the connection and the remedy.

use base64::Engine;
use crds::cluster::v1alpha1::Connection;
use members::{ConfigPart, Limits, MemberConfig, MemberError};
use secrecy::SecretString;
use store::ConnectionText;
use vocabulary::ClusterName;

/// Returns the configuration of a member, or the wrong field and the remedy.
pub(crate) fn config(name: &ClusterName, connection: &Connection, token: SecretString) -> Result<MemberConfig, String> {
    let authority = connection.certificate_authority_data.as_deref();
    let ca_pem = authority
        .map(decode)
        .transpose()
        .map_err(|error| told(name, ConfigPart::Authority, &format!("it is not base64: {error}")))?;
    Ok(MemberConfig {
        name: name.clone(),
        server: connection.server.clone(),
        ca_pem,
        tls_server_name: connection.tls_server_name.clone(),
        proxy_url: connection.proxy_url.clone(),
        token,
        limits: Limits::default(),
    })
}

/// Returns the connection in the form that credentials are sealed with.
pub fn text(connection: &Connection) -> ConnectionText {
    ConnectionText(serde_json::json!(connection).to_string())
}

/// Checks whether a member can be connected.
///
/// # Errors
/// A sentence for users: the wrong field and the remedy.
pub fn check(name: &ClusterName, connection: &Connection) -> Result<(), String> {
    config(name, connection, SecretString::default())?.check().map_err(|error| problem(name, &error))
}

/// Converts an error about a configuration to the wrong field of the connection and the remedy.
pub(crate) fn problem(name: &ClusterName, error: &MemberError) -> String {
    match error {
        MemberError::Config { part, message, .. } => told(name, *part, message),
        other => other.to_string(),
    }
}

fn told(name: &ClusterName, part: ConfigPart, message: &str) -> String {
    let (field, remedy) = match part {
        ConfigPart::Server => ("spec.connection.server", "write it as https://host:6443"),
        ConfigPart::Authority => (
            "spec.connection.certificateAuthorityData",
            "write the authority's PEM certificates in base64, as in a kubeconfig, or leave it out to trust those the \
             operator's machine trusts",
        ),
        ConfigPart::TlsServerName => {
            ("spec.connection.tlsServerName", "write a name or an address that the server's certificate carries")
        }
        ConfigPart::Proxy => {
            ("spec.connection.proxyUrl", "write http://[user:password@]host:port or socks5://[user:password@]host:port")
        }
        ConfigPart::Token => {
            return format!(
                "the credential: {message}; run `meridian cluster update-credential {name} --kubeconfig FILE`"
            );
        }
    };
    format!("{field}: {message}; {remedy}")
}

/// Decodes base64 and ignores line breaks, as every reader of a kubeconfig does.
fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let digits: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            server: "https://north.example:6443".to_owned(),
            certificate_authority_data: None,
            tls_server_name: None,
            proxy_url: None,
        }
    }

    fn told(connection: &Connection) -> String {
        check(&"north".parse().unwrap(), connection).unwrap_err()
    }

    #[test]
    fn unusable_connection_names_its_field_and_the_remedy() {
        let base64 = |text: &str| Some(base64::engine::general_purpose::STANDARD.encode(text));
        let authority = |certificate_authority_data| Connection { certificate_authority_data, ..connection() };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for data in [Some("no base64!".to_owned()), base64("no PEM"), base64(broken), Some(String::new())] {
            let told = told(&authority(data.clone()));
            assert!(told.starts_with("spec.connection.certificateAuthorityData: "), "{data:?}: {told}");
            assert!(told.contains("PEM certificates in base64"), "{told}");
        }
        for (connection, field, remedy) in [
            (Connection { server: "https://".to_owned(), ..connection() }, "server", "https://host:6443"),
            (Connection { proxy_url: Some("https://proxy:1".to_owned()), ..connection() }, "proxyUrl", "socks5://"),
            (Connection { tls_server_name: Some("a b".to_owned()), ..connection() }, "tlsServerName", "certificate"),
        ] {
            let told = told(&connection);
            assert!(told.starts_with(&format!("spec.connection.{field}: ")) && told.contains(remedy), "{told}");
        }
        assert_eq!(check(&"north".parse().unwrap(), &connection()), Ok(()));
    }

    #[test]
    fn base64_may_have_line_breaks() {
        assert_eq!(decode("bm9y\n  dGg=\n").unwrap(), b"north");
    }
}
