//! Gives the pages of the running hub what `capabilities/` says, for its exact address: the
//! port is known only when the hub runs, and pages of other ports on this machine get nothing.
//!
//! The files are what a person reviews; they name no address, and so allow nothing by
//! themselves. Deliberately absent: anything that a file does not say.

use serde_json::{Value, json};
use tauri::{AppHandle, Manager as _, Runtime};

/// The files, one for each window that shows pages of the hub.
pub const FILES: &[&str] = &[
    include_str!("../capabilities/main.json"),
    include_str!("../capabilities/overlay.json"),
    include_str!("../capabilities/prompt.json"),
];

/// Lets pages of this origin call what the files allow to their windows.
pub fn grant<R: Runtime>(app: &AppHandle<R>, origin: &url::Origin) {
    for file in FILES {
        match at(file, origin) {
            Ok(capability) => {
                if let Err(error) = app.add_capability(capability) {
                    tracing::error!(%error, "a window cannot call the app");
                }
            }
            // Tests read all of them.
            Err(error) => tracing::error!(%error, "a capability cannot be read"),
        }
    }
}

/// A file with the address in it, under a name of its own.
fn at(file: &str, origin: &url::Origin) -> serde_json::Result<String> {
    let mut capability: Value = serde_json::from_str(file)?;
    let name = format!("{}-of-the-hub", capability["identifier"].as_str().unwrap_or_default());
    capability["identifier"] = name.into();
    capability["remote"] = json!({ "urls": [origin.ascii_serialization()] });
    serde_json::to_string(&capability)
}

#[cfg(test)]
mod tests;
