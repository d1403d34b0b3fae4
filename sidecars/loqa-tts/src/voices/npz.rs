//! Reads the list of arrays in an NPZ archive (a ZIP of `.npy` files) as `numpy.savez`
//! writes it: stored, not compressed, little-endian f32. Anything else is an error.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

/// One array and where its numbers are in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array {
    /// Name without `.npy`.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Where the numbers begin.
    pub offset: u64,
    /// Their size.
    pub bytes: u64,
}

/// A ZIP ends with a record of 22 bytes and a comment of at most 65,535.
const MAX_TAIL: u64 = 22 + 65_535;
/// More entries than any archive of voices has.
const MAX_ENTRIES: usize = 4_096;
/// A `.npy` header is one line of about 120 bytes.
const MAX_NPY_HEADER: usize = 4_096;

/// Every array of the archive.
pub(super) fn list(archive: &mut (impl Read + Seek)) -> Result<Vec<Array>> {
    let size = archive.seek(SeekFrom::End(0))?;
    let tail_len = size.min(MAX_TAIL);
    let tail = read_at(archive, size - tail_len, tail_len)?;
    let end = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06");
    let record = end
        .map(|end| &tail[end..])
        .filter(|record| record.len() >= 22)
        .ok_or_else(|| bad("the archive is cut off, fetch it again"))?;
    let n_entries = usize::from(u16_at(record, 10)?);
    let directory = read_at(archive, u64::from(u32_at(record, 16)?), u64::from(u32_at(record, 12)?))?;
    if n_entries > MAX_ENTRIES {
        return Err(bad("too many entries"));
    }
    let mut arrays = Vec::with_capacity(n_entries);
    let mut entry = directory.as_slice();
    for _ in 0..n_entries {
        if !entry.starts_with(b"PK\x01\x02") {
            return Err(bad("the archive's directory is damaged"));
        }
        let (name_len, extra_len, comment_len) = (u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?);
        let name_end = 46 + usize::from(name_len);
        let name = entry.get(46..name_end).ok_or_else(|| bad("the archive's directory is damaged"))?;
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(stem) = name.strip_suffix(".npy") {
            if u16_at(entry, 10)? != 0 {
                return Err(bad(format!("array `{stem}` is compressed, store it with numpy.savez")));
            }
            arrays.push(read_array(archive, stem, u64::from(u32_at(entry, 42)?), u64::from(u32_at(entry, 24)?))?);
        }
        let next = name_end + usize::from(extra_len) + usize::from(comment_len);
        entry = entry.get(next..).ok_or_else(|| bad("the archive's directory is damaged"))?;
    }
    Ok(arrays)
}

fn read_array(archive: &mut (impl Read + Seek), name: &str, header_at: u64, stored: u64) -> Result<Array> {
    let local = read_at(archive, header_at, 30)?;
    if !local.starts_with(b"PK\x03\x04") {
        return Err(bad(format!("array `{name}`: the archive is damaged")));
    }
    let data_at = header_at + 30 + u64::from(u16_at(&local, 26)?) + u64::from(u16_at(&local, 28)?);
    let damaged = || bad(format!("`{name}` is no NumPy array"));
    let head = read_at(archive, data_at, 12)?;
    if !head.starts_with(b"\x93NUMPY") {
        return Err(damaged());
    }
    let (prefix, header_len) = match head[6] {
        1 => (10, usize::from(u16_at(&head, 8)?)),
        _ => (12, usize::try_from(u32_at(&head, 8)?).map_err(|_| damaged())?),
    };
    let begin = prefix as u64 + header_len as u64;
    if header_len > MAX_NPY_HEADER || begin > stored {
        return Err(damaged());
    }
    let header = read_at(archive, data_at + prefix as u64, header_len as u64)?;
    let header = std::str::from_utf8(&header).map_err(|_| damaged())?;
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err(bad(format!("array `{name}` is not little-endian f32 in C order")));
    }
    let shape = header.split_once("'shape':").and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let shape = shape.map(|(inside, _)| inside.split(',').map(str::trim).filter(|text| !text.is_empty()));
    let shape: Option<Vec<u64>> = shape.and_then(|numbers| numbers.map(|text| text.parse().ok()).collect());
    let shape = shape.filter(|shape| shape.iter().all(|dimension| *dimension < 1 << 20)).ok_or_else(damaged)?;
    if shape.len() > 4 {
        return Err(damaged());
    }
    Ok(Array { name: name.to_owned(), shape, offset: data_at + begin, bytes: stored - begin })
}

fn read_at(archive: &mut (impl Read + Seek), offset: u64, len: u64) -> Result<Vec<u8>> {
    archive.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    archive.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(bad("the archive is cut off, fetch it again")) }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let pair = bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok());
    pair.map(u16::from_le_bytes).ok_or_else(|| bad("the archive is damaged"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map(u32::from_le_bytes).ok_or_else(|| bad("the archive is damaged"))
}

fn bad(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, reason.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Cursor;

    /// An archive as numpy.savez writes it.
    pub(in crate::voices) fn archive(arrays: &[(&str, &[u64], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (name, shape, data) in arrays {
            let shape = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}").into_bytes();
            header.resize(117, b' ');
            header.push(b'\n');
            let mut npy = b"\x93NUMPY\x01\0".to_vec();
            npy.extend((header.len() as u16).to_le_bytes());
            npy.extend(header);
            npy.extend(*data);
            let at = out.len() as u32;
            let file = format!("{name}.npy");
            // Python forces ZIP64 in the local header: an extra field of 20 bytes.
            let common = |extra: u16| {
                let mut fields = vec![45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                fields.extend((npy.len() as u32).to_le_bytes());
                fields.extend((npy.len() as u32).to_le_bytes());
                fields.extend((file.len() as u16).to_le_bytes());
                fields.extend(extra.to_le_bytes());
                fields
            };
            out.extend(b"PK\x03\x04");
            out.extend(common(20));
            out.extend(file.bytes());
            out.extend([0; 20]);
            out.extend(&npy);
            directory.extend(b"PK\x01\x02\x2d\x03");
            directory.extend(common(0));
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(file.bytes());
        }
        let at = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend((arrays.len() as u16).to_le_bytes().repeat(2));
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend([0; 2]);
        out
    }

    #[test]
    fn arrays_are_found_with_their_shapes() {
        let bytes = archive(&[("one", &[2, 1, 3], &[7; 24]), ("two", &[5], &[9; 20])]);
        let arrays = list(&mut Cursor::new(&bytes)).unwrap();
        assert_eq!(arrays.len(), 2);
        assert_eq!((arrays[0].name.as_str(), arrays[0].shape.as_slice(), arrays[0].bytes), ("one", &[2, 1, 3][..], 24));
        let begin = arrays[1].offset as usize;
        assert_eq!(bytes[begin..begin + 20], [9; 20]);
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_a_panic() {
        let bytes = archive(&[("one", &[2, 1, 3], &[7; 24])]);
        for len in 0..bytes.len() {
            assert!(list(&mut Cursor::new(&bytes[..len])).is_err(), "cut to {len} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = list(&mut Cursor::new(&damaged));
            }
        }
    }
}
