//! Pages of long lists. A cursor is the key of the last row, never an offset: a page
//! costs the same however far back it lies, and nothing is shown twice when new rows
//! come in between. Its text is opaque to callers.

use crate::StoreError;
use serde::{Deserialize, Serialize};

/// Rows of a page when the caller does not say. Chosen.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most rows of a page. Chosen: some hundred kB of JSON.
pub const MAX_LIMIT: u32 = 500;
/// Longest cursor; nothing longer is read.
const MAX_CURSOR: usize = 200;

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Most rows, 1 to 500; 50 when it is left out.
    pub limit: Option<u32>,
    /// `next` of the page before; the first page when it is left out.
    pub after: Option<String>,
}

impl Page {
    /// The first page, with so many rows at most.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit: Some(limit), after: None }
    }

    /// The page after this cursor, with the same number of rows; `None` when there is none.
    #[must_use]
    pub fn following<T>(&self, page: &Paged<T>) -> Option<Self> {
        page.next.clone().map(|after| Self { limit: self.limit, after: Some(after) })
    }

    /// How many rows are given.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT)
    }

    /// The key after which this page begins, in the list of that name.
    pub(crate) fn key(&self, list: &str) -> Result<Option<(i64, i64)>, StoreError> {
        let Some(after) = &self.after else { return Ok(None) };
        let key = || {
            let text = (after.len() <= MAX_CURSOR).then(|| hex::decode(after).ok()).flatten()?;
            let text = String::from_utf8(text).ok()?;
            let mut parts = text.split(':');
            let (of, first, second) = (parts.next()?, parts.next()?, parts.next()?);
            if of != list || parts.next().is_some() {
                return None;
            }
            Some((first.parse().ok()?, second.parse().ok()?))
        };
        key().map(Some).ok_or(StoreError::BadCursor)
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Paged<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// Cuts the one row too many that was read to see whether there is more.
    pub(crate) fn cut(list: &str, page: &Page, mut rows: Vec<(T, (i64, i64))>) -> Self {
        let limit = page.rows() as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(_, (a, b))| hex::encode(format!("{list}:{a}:{b}")));
        Self { items: rows.into_iter().map(|(row, _)| row).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_key_and_to_no_other_list() {
        let page = Page::first(2);
        let paged = Paged::cut("turns", &page, vec![("a", (1, 10)), ("b", (-2, 20)), ("c", (3, 30))]);
        assert_eq!(paged.items, ["a", "b"]);
        let next = page.following(&paged).unwrap();
        assert_eq!(next.key("turns"), Ok(Some((-2, 20))));
        assert_eq!(next.key("sessions"), Err(StoreError::BadCursor), "a cursor of another list");
        let last = Paged::cut("turns", &page, vec![("a", (1, 10)), ("b", (2, 20))]);
        assert_eq!(page.following(&last), None);
    }

    #[test]
    fn a_cursor_that_nobody_made_is_refused() {
        let long = "61".repeat(101);
        for after in ["", "zz", "61", "7475726e733a313a32", "ff", &long, &hex::encode("turns:1:2:3")] {
            let page = Page { limit: None, after: Some(after.to_owned()) };
            let made = after == hex::encode("turns:1:2");
            assert_eq!(page.key("turns").is_ok(), made, "{after}");
        }
        assert_eq!(Page { limit: Some(0), after: None }.rows(), 1);
        assert_eq!(Page { limit: Some(9_999), after: None }.rows(), MAX_LIMIT);
    }
}
