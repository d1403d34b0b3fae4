//! Making a package from a built skill's folder. The same contents give the same bytes:
//! entries are sorted, and times and modes are fixed.

use super::{
    MAX_BYTES, MAX_ENTRIES, Package, PackageError, PackageRule, PublisherKey, SIGNATURE_FILE, check_path,
    content_digest, read_bounded, refused,
};
use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Packs every file of a built skill's folder. Hidden files, which tools leave behind,
/// are left out; anything else that a package may not hold is an error. The result was
/// read back through [`Package::read`].
pub fn pack(folder: &Path, key: Option<&PublisherKey>) -> Result<Vec<u8>, PackageError> {
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files, &mut 0)?;
    if files.contains_key(SIGNATURE_FILE) {
        return Err(refused(
            PackageRule::Content,
            format!("`{SIGNATURE_FILE}` lies in the folder; remove it, it is made when the package is signed"),
        ));
    }
    if let Some(key) = key {
        let signature = key.sign(&content_digest(&files));
        files.insert(SIGNATURE_FILE.to_owned(), signature);
    }
    let bytes = write(&files).map_err(|error| PackageError::Io {
        operation: "pack",
        path: folder.to_owned(),
        source: std::io::Error::other(error),
    })?;
    Package::read(&bytes)?;
    Ok(bytes)
}

fn collect(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
    n_bytes: &mut u64,
) -> Result<(), PackageError> {
    let failed = |source| PackageError::Io { operation: "read", path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{prefix}{name}");
        check_path(path.as_bytes())?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files, n_bytes)?;
            continue;
        }
        if !kind.is_file() {
            return Err(refused(
                PackageRule::EntryType,
                format!("`{path}` is a link or a device; copy the file instead"),
            ));
        }
        let bytes = read_bounded(&entry.path(), MAX_BYTES)?;
        *n_bytes += bytes.len() as u64;
        if *n_bytes > MAX_BYTES {
            return Err(refused(PackageRule::Size, format!("the folder holds more than {MAX_BYTES} bytes")));
        }
        files.insert(path, bytes);
        if files.len() > MAX_ENTRIES {
            return Err(refused(PackageRule::Entries, format!("the folder holds more than {MAX_ENTRIES} files")));
        }
    }
    Ok(())
}

fn write(files: &BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        // A few bytes only grow when they are deflated.
        let method = if bytes.len() < 64 { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(0o644);
        archive.start_file(path.as_str(), options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}
