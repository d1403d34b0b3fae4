//! Keeps `models/catalog.toml` true to the files that lie in the repository.
//! Downloads are not touched: nobody but their host can say what they hold.

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, value};

/// Checks every bundled file, or writes its size and digest when `update` is set.
///
/// # Errors
/// A file is missing or differs, the catalogue cannot be read, or two entries share a name.
pub fn run(root: &Path, update: bool) -> anyhow::Result<()> {
    let folder = root.join("models");
    let path = folder.join("catalog.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
    let mut catalog: DocumentMut = text.parse().with_context(|| format!("parse `{}`", path.display()))?;
    let differences = compare(&mut catalog, &folder)?;
    if update {
        std::fs::write(&path, catalog.to_string()).with_context(|| format!("write `{}`", path.display()))?;
        differences.iter().for_each(|difference| println!("updated: {difference}"));
        println!("models/catalog.toml agrees with the bundled files");
        return Ok(());
    }
    if differences.is_empty() {
        println!("models/catalog.toml agrees with the bundled files");
        return Ok(());
    }
    bail!("models/catalog.toml differs; run `cargo xtask models --update`:\n  {}", differences.join("\n  "))
}

/// Sets size and digest of every bundled file in `catalog` and tells what changed.
fn compare(catalog: &mut DocumentMut, folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    let mut names = HashSet::new();
    let models = catalog.get_mut("model").and_then(Item::as_array_of_tables_mut).context("no [[model]] entries")?;
    for model in models.iter_mut() {
        let name = text(model, "name")?.to_owned();
        ensure!(names.insert(name.clone()), "two models are called `{name}`");
        let bundled =
            model.get("bundled").and_then(Item::as_bool).with_context(|| format!("`{name}`: no `bundled`"))?;
        let files = model.get_mut("file").and_then(Item::as_array_of_tables_mut);
        let files = files.with_context(|| format!("`{name}`: no [[model.file]] entries"))?;
        let n_models = files.iter().filter(|file| text(file, "role").is_ok_and(|role| role == "model")).count();
        ensure!(n_models == 1, "`{name}` needs one file with role \"model\", has {n_models}");
        for file in files.iter_mut() {
            let path = text(file, "path")?.to_owned();
            if !bundled {
                check_download(&name, file)?;
                continue;
            }
            let bytes = std::fs::read(folder.join(&path)).with_context(|| format!("read `models/{path}`"))?;
            let digest = hex::encode(Sha256::digest(&bytes));
            let size = i64::try_from(bytes.len()).context("the file is too large")?;
            if text(file, "sha256")? != digest || file.get("size").and_then(Item::as_integer) != Some(size) {
                differences.push(format!("`models/{path}` has {size} bytes, SHA-256 {digest}"));
                file["sha256"] = value(&digest);
                file["size"] = value(size);
            }
        }
    }
    Ok(differences)
}

/// A download names its address, and its digest is a digest or openly unknown.
fn check_download(model: &str, file: &Table) -> anyhow::Result<()> {
    let path = text(file, "path")?;
    let digest = text(file, "sha256")?;
    let known = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    ensure!(known || digest == "unknown", "`{model}`: `{path}`: sha256 is 64 hex digits or \"unknown\": `{digest}`");
    let url = text(file, "url").with_context(|| format!("`{model}`: `{path}` is a download"))?;
    ensure!(url.starts_with("https://"), "`{model}`: downloads go over https: `{url}`");
    Ok(())
}

fn text<'a>(table: &'a Table, key: &str) -> anyhow::Result<&'a str> {
    table.get(key).and_then(Item::as_str).with_context(|| format!("no text under `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = r#"
# kept
[[model]]
name = "a"
bundled = true
[[model.file]]
role = "model"
path = "a.bin"
size = 1
sha256 = "old"
"#;

    #[test]
    fn a_changed_file_is_noticed_and_written() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), "weights").unwrap();
        let mut catalog: DocumentMut = CATALOG.parse().unwrap();
        let differences = compare(&mut catalog, folder.path()).unwrap();
        assert_eq!(differences.len(), 1);
        assert!(catalog.to_string().contains("# kept"), "comments stay");
        assert!(catalog.to_string().contains("size = 7"), "{catalog}");
        assert_eq!(compare(&mut catalog, folder.path()).unwrap(), Vec::<String>::new(), "now it agrees");
    }

    #[test]
    fn a_missing_file_and_a_doubled_name_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = compare(&mut CATALOG.parse().unwrap(), folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("models/a.bin"), "{error:#}");
        std::fs::write(folder.path().join("a.bin"), "weights").unwrap();
        let error = compare(&mut format!("{CATALOG}{CATALOG}").parse().unwrap(), folder.path()).unwrap_err();
        assert!(error.to_string().contains("two models are called `a`"), "{error:#}");
    }

    #[test]
    fn a_download_without_digest_or_over_plain_http_is_refused() {
        let file = |digest: &str, url: &str| {
            let text = format!("path = \"m\"\nsha256 = \"{digest}\"\nurl = \"{url}\"");
            text.parse::<DocumentMut>().unwrap().as_table().clone()
        };
        let digest = "ab".repeat(32);
        assert!(check_download("m", &file(&digest, "https://host/m")).is_ok());
        assert!(check_download("m", &file("unknown", "https://host/m")).is_ok());
        assert!(check_download("m", &file("abc", "https://host/m")).is_err());
        assert!(check_download("m", &file(&digest, "http://host/m")).is_err());
    }
}
