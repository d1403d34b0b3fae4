//! The MQTT gateway of the bundled nats-server: devices connect to it as to any MQTT
//! 3.1.1 broker. Off unless it is asked for.
//!
//! Devices live in an account of their own, so that no topic of theirs is a subject of
//! Loqa's and the other way round, and their passwords open nothing but MQTT. The server
//! keeps retained messages in JetStream; nothing of Loqa's own rests on that.

use crate::BusError;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most bytes that retained messages and sessions may take on the disk. Chosen: some
/// 10,000 retained messages of a few KiB.
const MAX_FILE_STORE: u64 = 64 * 1024 * 1024;
/// The same in memory.
const MAX_MEMORY_STORE: u64 = 16 * 1024 * 1024;
/// Shortest password. Chosen: what nobody guesses through a server that takes its time.
const MIN_PASSWORD: usize = 12;

/// Where MQTT devices connect, and who may.
#[derive(Clone)]
pub struct MqttGateway {
    /// The listener's own address. There is no TLS: beyond loopback, passwords and
    /// messages can be read by whoever sees the network.
    pub listen: SocketAddr,
    /// Folder for retained messages. Name it after the server's version: an older server
    /// cannot read what a newer one wrote.
    pub store_dir: PathBuf,
    /// Name and password of each user.
    pub users: Vec<(String, String)>,
}

impl MqttGateway {
    /// The account of the devices.
    pub(super) const ACCOUNT: &str = "DEVICES";

    /// Refuses a gateway that would let everybody in.
    pub(super) fn check(&self) -> Result<(), BusError> {
        let refuse = |reason: String| Err(BusError::Server { reason });
        if self.users.is_empty() {
            return refuse("the MQTT gateway has no user: give it a name and a password".to_owned());
        }
        if let Some((name, _)) = self.users.iter().find(|(_, password)| password.len() < MIN_PASSWORD) {
            return refuse(format!("the MQTT password of `{name}` is shorter than {MIN_PASSWORD} characters"));
        }
        Ok(())
    }

    /// The parts of the configuration that stand on their own.
    pub(super) fn settings(&self) -> [(&'static str, Value); 2] {
        [
            (
                "jetstream",
                json!({
                    "store_dir": self.store_dir.to_string_lossy(),
                    "max_memory_store": MAX_MEMORY_STORE,
                    "max_file_store": MAX_FILE_STORE,
                    // What was acknowledged is on the disk; the default is two minutes late.
                    "sync_interval": "always",
                }),
            ),
            ("mqtt", json!({ "host": self.listen.ip().to_string(), "port": self.listen.port() })),
        ]
    }

    /// The devices' account.
    pub(super) fn account(&self) -> Value {
        let users = self.users.iter().map(
            |(name, password)| json!({ "user": name, "password": password, "allowed_connection_types": ["MQTT"] }),
        );
        json!({ "jetstream": "enabled", "users": users.collect::<Vec<_>>() })
    }
}

impl std::fmt::Debug for MqttGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttGateway")
            .field("listen", &self.listen)
            .field("store_dir", &self.store_dir)
            .field("users", &self.users.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(users: &[(&str, &str)]) -> MqttGateway {
        MqttGateway {
            listen: "127.0.0.1:1883".parse().unwrap(),
            store_dir: PathBuf::from("/data"),
            users: users.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect(),
        }
    }

    #[test]
    fn a_gateway_without_a_password_is_refused() {
        assert!(gateway(&[]).check().is_err(), "nobody could use it, and an empty list may mean everybody");
        assert!(gateway(&[("lamp", "")]).check().is_err());
        assert!(gateway(&[("lamp", "short")]).check().is_err());
        assert!(gateway(&[("lamp", "long enough for it")]).check().is_ok());
    }

    #[test]
    fn passwords_open_mqtt_only_and_are_not_shown() {
        let gateway = gateway(&[("lamp", "long enough for it")]);
        assert_eq!(gateway.account()["users"][0]["allowed_connection_types"], json!(["MQTT"]));
        assert!(!format!("{gateway:?}").contains("long enough"));
    }
}
