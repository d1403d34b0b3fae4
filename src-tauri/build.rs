//! Bundles the configuration and lists the commands that windows may be allowed to call;
//! a command that is not listed here is denied to every window.

#[path = "src/commands/names.rs"]
mod names;

fn main() {
    let commands = tauri_build::AppManifest::new().commands(names::COMMANDS);
    if let Err(error) = tauri_build::try_build(tauri_build::Attributes::new().app_manifest(commands)) {
        println!("cargo::error=the desktop app's configuration: {error:#}");
    }
}
