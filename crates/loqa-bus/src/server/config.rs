//! The generated nats-server configuration, kept at 0600. Of Loqa's own identities it
//! holds public keys only; of MQTT devices it holds passwords, because the server knows
//! no other way for them.

use super::mqtt::MqttGateway;
use crate::{BusError, Permissions};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One user of the server.
pub(super) struct Identity {
    pub(super) public_key: String,
    pub(super) permissions: Permissions,
}

/// Everything that the configuration depends on.
pub(super) struct Config<'a> {
    /// Random for each start of the process, so that nobody can answer in its name.
    pub(super) server_name: &'a str,
    /// `None` lets the system choose, which happens once; restarts keep the port.
    pub(super) port: Option<u16>,
    /// Where the server tells the port.
    pub(super) ports_dir: &'a Path,
    /// Off where it is `None`.
    pub(super) mqtt: Option<&'a MqttGateway>,
    pub(super) identities: &'a BTreeMap<String, Identity>,
    /// Public key of a user that exists in this version of the file only. Whoever can
    /// connect with it knows that the server has read this version.
    pub(super) generation: &'a str,
}

impl Config<'_> {
    /// The text of the file. JSON is a subset of the server's syntax, which settles
    /// all quoting.
    pub(super) fn render(&self) -> String {
        let nobody = json!({ "publish": { "deny": ">" }, "subscribe": { "deny": ">" } });
        let mut users: Vec<_> = self
            .identities
            .iter()
            .map(|(name, identity)| {
                json!({
                    "nkey": identity.public_key,
                    "permissions": {
                        "publish": allow(&identity.permissions.publish_list(name)),
                        "subscribe": allow(&identity.permissions.subscribe_list(name)),
                    },
                })
            })
            .collect();
        users.push(json!({ "nkey": self.generation, "permissions": nobody }));
        let port = self.port.map_or(-1, i32::from);
        let mut accounts = json!({ "LOQA": { "default_permissions": nobody, "users": users } });
        let mut settings = vec![
            ("server_name", json!(self.server_name)),
            ("listen", json!(format!("127.0.0.1:{port}"))),
            ("ports_file_dir", json!(self.ports_dir.to_string_lossy())),
            ("max_payload", json!(MAX_PAYLOAD)),
            ("max_pending", json!(16 * 1024 * 1024)),
            ("max_connections", json!(256)),
            ("max_control_line", json!(4096)),
            ("write_deadline", json!("5s")),
            ("logtime", json!(false)),
        ];
        if let Some(gateway) = self.mqtt {
            settings.extend(gateway.settings());
            accounts[MqttGateway::ACCOUNT] = gateway.account();
        }
        settings.push(("accounts", accounts));
        let mut text = String::new();
        for (key, value) in settings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }

    /// Replaces the file in one step, readable for the user alone.
    pub(super) fn write(&self, path: &Path) -> Result<(), BusError> {
        let storage = |source| BusError::Storage { path: path.to_owned(), source };
        let dir = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        // tempfile creates with 0600.
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(storage)?;
        file.write_all(self.render().as_bytes()).map_err(storage)?;
        file.persist(path).map_err(|error| storage(error.error))?;
        Ok(())
    }
}

/// Largest message in bytes: NATS's own default, and ten times the largest chunk of speech.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// An allow-list. An empty one would allow everything, so it becomes its opposite.
fn allow(subjects: &[String]) -> serde_json::Value {
    if subjects.is_empty() { json!({ "deny": ">" }) } else { json!({ "allow": subjects }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        assert_eq!(allow(&[]), json!({ "deny": ">" }), "an empty list would mean everything");
        let silent = Permissions { publish: vec![], subscribe: vec![], responses: true };
        let identities =
            BTreeMap::from([("mute".to_owned(), Identity { public_key: "UKEY".to_owned(), permissions: silent })]);
        let text = Config {
            server_name: "n",
            port: None,
            ports_dir: Path::new("/run/\"odd\" dir"),
            mqtt: None,
            identities: &identities,
            generation: "UGEN",
        }
        .render();
        assert!(
            text.contains(r#"{"nkey":"UKEY","permissions":{"publish":{"allow":["_INBOX.mute.flush.*"]},"subscribe":{"allow":["_INBOX.mute.>"]}}}"#),
            "{text}"
        );
        assert!(text.contains(r#""default_permissions":{"publish":{"deny":">"},"subscribe":{"deny":">"}}"#));
        assert!(text.contains(r#"ports_file_dir: "/run/\"odd\" dir""#), "{text}");
        assert!(!text.contains("no_auth_user"), "nobody gets in without a key");
        for off in ["mqtt", "jetstream", "websocket", "leafnodes", "cluster", "http"] {
            assert!(!text.contains(off), "{off} stays off: {text}");
        }
    }
}
