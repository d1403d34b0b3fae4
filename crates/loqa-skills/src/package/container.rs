//! The archive: a ZIP file in which nothing can be read in two ways.
//!
//! The directory is read here, field by field, and must agree with the header in front of
//! each entry, without gaps, overlaps, comments, extra fields, descriptors or anything
//! behind it. The `zip` crate then only unpacks, and must have found the same entries.

use super::path::{Paths, check_path};
use super::{MAX_BYTES, MAX_ENTRIES, MAX_RATIO, PackageError, PackageRule, RATIO_FREE_BYTES, refused, shown};
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use zip::ZipArchive;

/// What a package holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) folders: Vec<String>,
}

/// One row of the directory.
#[derive(Debug)]
struct Row {
    /// As it stands there, with the `/` of a folder.
    raw_name: Vec<u8>,
    path: String,
    is_file: bool,
    header_at: u64,
    size: u64,
}

const END: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const ROW: &[u8; 4] = b"PK\x01\x02";
const ROW_BYTES: usize = 46;
const HEADER: &[u8; 4] = b"PK\x03\x04";
const HEADER_BYTES: usize = 30;

/// Flags that change nothing: hints of the compressor, and that names are UTF-8.
const HARMLESS_FLAGS: u16 = 0b1000_0000_0110;
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Version of the format that brings folders and deflate.
const VERSION: u16 = 20;

/// Type bits of a Unix mode, in the upper half of the external attributes.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
/// MS-DOS attributes, in the lowest byte.
const DOS_FOLDER: u32 = 0x10;
const DOS_LABEL_OR_DEVICE: u32 = 0x08 | 0x40;

/// Checks the archive and unpacks it into memory.
pub(super) fn unpack(bytes: &[u8]) -> Result<Contents, PackageError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(PackageRule::Size, format!("the package has more than {MAX_BYTES} bytes")));
    }
    let rows = read_directory(bytes)?;
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| plain(&format!("the archive cannot be read: {error}")))?;
    if archive.len() != rows.len() {
        return Err(plain("the archive can be read in two ways"));
    }
    let mut contents = Contents::default();
    for (idx, row) in rows.into_iter().enumerate() {
        let entry = archive.by_index(idx).map_err(|error| damaged(&row, &error.to_string()))?;
        if entry.name_raw() != row.raw_name || entry.size() != row.size || entry.header_start() != row.header_at {
            return Err(plain("the archive can be read in two ways"));
        }
        if !row.is_file {
            contents.folders.push(row.path);
            continue;
        }
        // The size is within the limit for all; one byte more shows that the directory lied.
        let mut content = Vec::with_capacity(usize::try_from(row.size).unwrap_or_default());
        entry.take(row.size + 1).read_to_end(&mut content).map_err(|error| damaged(&row, &error.to_string()))?;
        if content.len() as u64 != row.size {
            return Err(damaged(&row, "its size is not what the directory says"));
        }
        contents.files.insert(row.path, content);
    }
    Ok(contents)
}

fn read_directory(bytes: &[u8]) -> Result<Vec<Row>, PackageError> {
    let end_at = bytes.len().checked_sub(END_BYTES).ok_or_else(|| plain("it is too short"))?;
    let end = Fields(&bytes[end_at..]);
    if !end.begins_with(END) {
        return Err(plain("it does not end with the directory of a ZIP archive, or something stands behind it"));
    }
    let n_entries = end.u16(10);
    let (size, at) = (end.u32(12) as usize, end.u32(16) as usize);
    let one_disk = end.u16(4) == 0 && end.u16(6) == 0 && end.u16(8) == n_entries;
    if !one_disk || end.u16(20) != 0 || at.checked_add(size) != Some(end_at) {
        return Err(plain("its directory does not lie where it says, or it has a comment"));
    }
    if usize::from(n_entries) > MAX_ENTRIES {
        return Err(refused(
            PackageRule::Entries,
            format!("there are {n_entries} files and folders, at most {MAX_ENTRIES} are allowed"),
        ));
    }
    let mut rows = Vec::with_capacity(usize::from(n_entries));
    let mut paths = Paths::default();
    let mut row_at = at;
    let mut data_at = 0_usize;
    let mut total = 0_u64;
    for _ in 0..n_entries {
        let row_end = row_at.checked_add(ROW_BYTES).filter(|end| *end <= end_at);
        let fields = Fields(row_end.map(|end| &bytes[row_at..end]).ok_or_else(|| plain("its directory is cut off"))?);
        if !fields.begins_with(ROW) {
            return Err(plain("its directory is damaged"));
        }
        let name_at = row_at + ROW_BYTES;
        let name_end = name_at + usize::from(fields.u16(28));
        let name = bytes.get(name_at..name_end.min(end_at)).unwrap_or_default();
        if name_end > end_at {
            return Err(plain("its directory is cut off"));
        }
        let row = read_row(fields, name, &mut paths)?;
        data_at = check_header(bytes, at, data_at, &row, fields)?;
        total += row.size;
        if total > MAX_BYTES {
            return Err(refused(PackageRule::Size, format!("it unpacks to more than {MAX_BYTES} bytes")));
        }
        rows.push(row);
        row_at = name_end;
    }
    if row_at != end_at || data_at != at {
        return Err(plain("there are bytes in it that belong to no entry"));
    }
    Ok(rows)
}

fn read_row(fields: Fields<'_>, name: &[u8], paths: &mut Paths) -> Result<Row, PackageError> {
    let label = shown(name);
    let flags = fields.u16(8);
    if flags & ENCRYPTED != 0 {
        return Err(refused(PackageRule::Encrypted, format!("`{label}` is encrypted")));
    }
    if !matches!(fields.u16(10), STORED | DEFLATED) {
        return Err(refused(PackageRule::Compression, format!("`{label}` is neither stored nor deflated")));
    }
    let (extra, comment, disk) = (fields.u16(30), fields.u16(32), fields.u16(34));
    if flags & !HARMLESS_FLAGS != 0 || extra != 0 || comment != 0 || disk != 0 || fields.u16(6) > VERSION {
        return Err(plain(&format!("`{label}` uses extensions of the format")));
    }
    let (packed, size) = (u64::from(fields.u32(20)), u64::from(fields.u32(24)));
    let attributes = fields.u32(38);
    let named_folder = name.ends_with(b"/");
    let type_fits = match (attributes >> 16) & TYPE_MASK {
        TYPE_FILE => !named_folder,
        TYPE_FOLDER => named_folder,
        // Made on a system without modes.
        0 => true,
        _ => false,
    };
    let dos_fits = attributes & DOS_LABEL_OR_DEVICE == 0 && (named_folder || attributes & DOS_FOLDER == 0);
    if !type_fits || !dos_fits {
        return Err(refused(
            PackageRule::EntryType,
            format!("`{label}` is neither a plain file nor a folder; links and devices are not taken"),
        ));
    }
    if named_folder && (size != 0 || packed != 0) {
        return Err(refused(PackageRule::EntryType, format!("`{label}` is a folder with contents")));
    }
    if size > RATIO_FREE_BYTES && size > packed.saturating_mul(MAX_RATIO) {
        return Err(refused(PackageRule::Ratio, format!("`{label}` unpacks to more than {MAX_RATIO} times its size")));
    }
    let path = check_path(name.strip_suffix(b"/").unwrap_or(name))?.to_owned();
    paths.add(&path, !named_folder)?;
    Ok(Row { raw_name: name.to_owned(), path, is_file: !named_folder, header_at: u64::from(fields.u32(42)), size })
}

/// The header in front of an entry says the same as its row, and the entry follows the one before.
/// Returns where the next entry begins.
fn check_header(
    bytes: &[u8],
    directory_at: usize,
    data_at: usize,
    row: &Row,
    fields: Fields<'_>,
) -> Result<usize, PackageError> {
    let differs = || plain(&format!("`{}` lies elsewhere or is something else than its directory says", row.path));
    if row.header_at != data_at as u64 {
        return Err(differs());
    }
    let name_at = data_at.checked_add(HEADER_BYTES).filter(|end| *end <= directory_at).ok_or_else(differs)?;
    let header = Fields(&bytes[data_at..name_at]);
    // Version, flags, method, time, date, checksum, sizes and the name's length stand in both, two bytes apart.
    let same = header.begins_with(HEADER) && header.0[4..28] == fields.0[6..30];
    let content_at = name_at + row.raw_name.len();
    let content_end = content_at.checked_add(fields.u32(20) as usize).ok_or_else(differs)?;
    if !same
        || header.u16(28) != 0
        || content_end > directory_at
        || bytes.get(name_at..content_at) != Some(row.raw_name.as_slice())
    {
        return Err(differs());
    }
    Ok(content_end)
}

/// Little-endian fields of a record that is long enough.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn begins_with(self, signature: &[u8; 4]) -> bool {
        self.0.starts_with(signature)
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

fn plain(what: &str) -> PackageError {
    refused(PackageRule::Container, format!("{what}; make packages with `loqa skill pack`"))
}

fn damaged(row: &Row, what: &str) -> PackageError {
    refused(PackageRule::Damaged, format!("`{}`: {what}; get the package again", row.path))
}
