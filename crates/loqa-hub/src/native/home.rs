//! The bundled smart-home bridge: whether it is wanted, what it is told, and the MQTT
//! gateway of the bundled nats-server that devices may connect to.
//!
//! Off until the user names a home. The token of Home Assistant is no setting: it is a
//! secret that the bridge asks for.

use super::{NativeSpec, Origins};
use crate::config::Config;
use crate::paths::Paths;
use anyhow::{Context as _, bail};
use loqa_bus::MqttGateway;
use loqa_skills::native::NativeCode;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// Name of the skill.
pub const SKILL: &str = "smart-home";
/// Name that MQTT devices log in with.
pub const MQTT_USER: &str = "device";
/// File in the data folder with the password for [`MQTT_USER`].
pub const MQTT_PASSWORD_FILE: &str = "mqtt-password";
/// Name that the bridge logs in with; its password lives as long as the hub.
const BRIDGE_USER: &str = "bridge";
/// What `home.mqtt` says for the bundled server's own gateway.
const BUNDLED: &str = "bundled";
/// Largest file with devices and names, in bytes. Chosen: some thousand devices.
const MAX_SETTINGS: u64 = 256 * 1024;

/// The gateway, and what the bridge logs in with.
pub struct Gateway {
    /// For the bus server.
    pub gateway: MqttGateway,
    bridge_password: String,
}

/// The MQTT gateway, if the user wants one.
///
/// # Errors
/// The address cannot be read, or the password file cannot be made.
pub fn gateway(config: &Config, data: &Path) -> anyhow::Result<Option<Gateway>> {
    let Some(listen) = config.text_if_set("bus.mqtt_listen") else { return Ok(None) };
    let listen: SocketAddr = listen
        .parse()
        .with_context(|| format!("`bus.mqtt_listen` is `{listen}`, write an address and a port: 127.0.0.1:1883"))?;
    if !listen.ip().is_loopback() {
        tracing::warn!(%listen, "the MQTT gateway listens beyond this machine, without encryption");
    }
    let bridge_password = random_password();
    let users = vec![(MQTT_USER.to_owned(), device_password(data)?), (BRIDGE_USER.to_owned(), bridge_password.clone())];
    // Of the server's minor version: an older one cannot read what a newer one wrote.
    let store_dir = data.join("nats").join("2.15");
    Ok(Some(Gateway { gateway: MqttGateway { listen, store_dir, users }, bridge_password }))
}

/// The bridge as it is to run, if the user wants it.
///
/// # Errors
/// A setting cannot be used; the text names it and says what to write.
pub fn spec(config: &Config, paths: &Paths, gateway: Option<&Gateway>) -> anyhow::Result<Option<NativeSpec>> {
    if !config.bool("home.enabled") {
        return Ok(None);
    }
    let mut origins = Origins::default();
    let mut settings = match config.path("home.devices") {
        Some(path) => read_devices(&path)?,
        None => Map::new(),
    };
    if let Some(address) = config.text_if_set("home.url") {
        let address = origins.add_text(address).context("`home.url`")?;
        if !matches!(address.scheme(), "http" | "https" | "ws" | "wss") {
            bail!("`home.url` is `{address}`, write http or https");
        }
        settings.insert("url".to_owned(), json!(address.as_str()));
    }
    match (config.text_if_set("home.mqtt"), gateway) {
        (None, _) => {}
        (Some(BUNDLED), None) => bail!("`home.mqtt` is `bundled`, set `bus.mqtt_listen` to the address it listens on"),
        (Some(BUNDLED), Some(gateway)) => {
            let listen = gateway.gateway.listen;
            let host = if listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { listen.ip().to_string() };
            let address = origins.add_text(&format!("mqtt://{host}:{}", listen.port())).context("`bus.mqtt_listen`")?;
            let mqtt = json!({
                "address": address.as_str(), "user": BRIDGE_USER, "password": gateway.bridge_password,
            });
            settings.insert("mqtt".to_owned(), mqtt);
        }
        (Some(address), _) => {
            let address = origins.add_text(address).context("`home.mqtt`")?;
            if address.scheme() != "mqtt" {
                bail!("`home.mqtt` is `{address}`, write `bundled` or mqtt://host:1883");
            }
            settings.insert("mqtt".to_owned(), json!({ "address": address.as_str() }));
        }
    }
    let folder = paths.home_skill();
    // An installed Loqa keeps the program with its manifest, so that `/usr/bin` holds no `smart-home`.
    let is_beside = folder.join(format!("{SKILL}{}", std::env::consts::EXE_SUFFIX)).is_file();
    let programs = (!is_beside).then_some(paths.programs.as_path());
    let code = NativeCode::read_from(&folder, programs).with_context(|| {
        format!("read the smart-home skill in `{}`: run `npm run setup`, or unset `home.enabled`", folder.display())
    })?;
    let data_dir = paths.data.join("skills").join(SKILL);
    Ok(Some(NativeSpec { code, settings, origins, data_dir, is_sandboxed: true }))
}

/// Names and plain MQTT topics, in TOML.
fn read_devices(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let describe = || format!("read `home.devices`, `{}`", path.display());
    let size = std::fs::metadata(path).with_context(describe)?.len();
    if size > MAX_SETTINGS {
        bail!("{}: it has {size} bytes, at most {MAX_SETTINGS} are read", describe());
    }
    let text = std::fs::read_to_string(path).with_context(describe)?;
    let mut table: Map<String, Value> = toml::from_str(&text).with_context(describe)?;
    if let Some(unknown) = table.keys().find(|key| !matches!(key.as_str(), "aliases" | "topics")) {
        bail!("{}: unknown key `{unknown}`, known are `aliases` and `topics`", describe());
    }
    table.retain(|_, value| !value.is_null());
    Ok(table)
}

/// The password that devices use, made at the first start and kept for the user alone.
fn device_password(data: &Path) -> anyhow::Result<String> {
    let path = data.join(MQTT_PASSWORD_FILE);
    if let Ok(kept) = std::fs::read_to_string(&path)
        && kept.trim().len() >= 12
    {
        return Ok(kept.trim().to_owned());
    }
    let password = random_password();
    // tempfile is for tests; the folder is closed to others, and the file comes into it whole.
    let beside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(password.as_bytes())?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&beside, &path))
        .with_context(|| format!("keep the password of MQTT devices in `{}`", path.display()))?;
    Ok(password)
}

fn random_password() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        config
    }

    #[test]
    fn the_gateway_is_off_until_it_is_asked_for_and_keeps_its_password() {
        let data = tempfile::tempdir().unwrap();
        assert!(gateway(&config(&[]), data.path()).unwrap().is_none());
        assert!(!data.path().join(MQTT_PASSWORD_FILE).exists(), "nothing is made for what is off");
        let on = config(&[("bus.mqtt_listen", "127.0.0.1:1883")]);
        let first = gateway(&on, data.path()).unwrap().unwrap();
        let second = gateway(&on, data.path()).unwrap().unwrap();
        assert_eq!(first.gateway.users[0], second.gateway.users[0], "devices keep what they were told");
        assert_ne!(first.bridge_password, second.bridge_password);
        assert!(gateway(&config(&[("bus.mqtt_listen", "everywhere")]), data.path()).is_err());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(data.path().join(MQTT_PASSWORD_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn devices_are_read_from_toml_and_nothing_else_is_taken_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devices.toml");
        std::fs::write(&path, "[aliases]\n\"reading lamp\" = \"light.sofa\"\n[[topics]]\nkind = \"switch\"\n").unwrap();
        let devices = read_devices(&path).unwrap();
        assert_eq!(devices["aliases"]["reading lamp"], "light.sofa");
        std::fs::write(&path, "url = \"http://elsewhere\"\n").unwrap();
        let error = format!("{:#}", read_devices(&path).unwrap_err());
        assert!(error.contains("unknown key `url`"), "{error}");
    }
}
