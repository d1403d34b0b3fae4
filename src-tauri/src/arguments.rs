//! What the app is started with, and the configuration that follows from it: the same file,
//! variables and `--set` as for `loqa`.
//!
//! Deliberately absent: choices of the person, which stand in `desktop.json`.

use anyhow::Context as _;
use clap::Parser;
use loqa_hub::config::Config;
use loqa_hub::paths::{Paths, default_config_file};
use std::path::PathBuf;

/// Loqa on the desktop: press, talk, see.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "loqa-desktop", version, about)]
pub struct Arguments {
    /// Start in the tray, without the window; autostart does this.
    #[arg(long)]
    pub hidden: bool,
    /// Folder for everything that is kept, instead of the user's data folder.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file; `loqa.toml` in the user's configuration folder by default.
    #[arg(long, value_name = "FILE", env = "LOQA_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one configuration key, for example `--set stt.threads=2`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Log filter, for example `info` or `loqa_hub=debug`.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl Arguments {
    /// Reads the configuration and finds the folders, anew at each call: a person may mend
    /// the file and try again.
    ///
    /// # Errors
    /// The file or a value cannot be used.
    pub fn load(&self) -> anyhow::Result<(Config, Paths)> {
        let default = default_config_file();
        let file = match (&self.config, &default) {
            (Some(path), _) => Some((path.as_path(), true)),
            (None, Some(path)) => Some((path.as_path(), false)),
            (None, None) => None,
        };
        let mut set = self.set.clone();
        if let Some(data) = &self.data {
            // The hub and the app must agree, wherever the app is started from.
            let data = std::path::absolute(data).context("find the folder of `--data`")?;
            set.push(("paths.data".to_owned(), data.to_string_lossy().into_owned()));
        }
        let config = Config::load(file, std::env::vars(), &set)?;
        let paths = Paths::resolve(&config)?;
        Ok((config, paths))
    }

    /// Where the app keeps its own settings when the configuration cannot be read: the
    /// window must open to say so.
    #[must_use]
    pub fn fallback_data(&self) -> PathBuf {
        let default = || Some(Paths::resolve(&Config::default()).ok()?.data);
        self.data.clone().or_else(default).unwrap_or_else(std::env::temp_dir)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_folder_of_the_flag_is_the_hubs() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_string_lossy().into_owned();
        let arguments =
            Arguments::try_parse_from(["loqa-desktop", "--hidden", "--data", &data, "--set", "stt.threads=2"]).unwrap();
        assert!(arguments.hidden);
        let (config, paths) = arguments.load().unwrap();
        assert_eq!(paths.data, folder.path());
        assert_eq!(config.integer("stt.threads"), 2);
    }

    #[test]
    fn a_key_that_is_unknown_is_named_and_the_app_still_has_a_folder() {
        let arguments = Arguments { set: vec![("stt.treads".into(), "2".into())], ..Arguments::default() };
        let error = arguments.load().unwrap_err().to_string();
        assert!(error.contains("stt.treads") && error.contains("did you mean"), "{error}");
        assert!(!arguments.fallback_data().as_os_str().is_empty());
    }
}
