//! The tables of the grants in `skills.db`.

use crate::grants::clock::Reading;
use crate::grants::{Ended, Grant, Grantor, Lifetime, Memory};
use crate::permission::{Permission, Scope};
use crate::store::{StoreError, open_connection};
use loqa_protocol::SessionId;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use serde_json::{Map, Value};
use std::path::Path;

/// Brings `skills.db` from version 1 to 2.
pub(crate) const MIGRATION: &str = "
    CREATE TABLE skill_grant (
        id TEXT NOT NULL PRIMARY KEY,
        skill TEXT NOT NULL,
        digest TEXT NOT NULL,
        publisher TEXT,
        permission TEXT NOT NULL,
        scope TEXT NOT NULL,
        lifetime TEXT NOT NULL CHECK (lifetime IN ('once', 'session', 'always', 'never')),
        session TEXT,
        granted_at INTEGER NOT NULL,
        last_used INTEGER NOT NULL,
        granted_by TEXT NOT NULL,
        ended TEXT,
        CHECK ((lifetime = 'session') = (session IS NOT NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX skill_grant_skill ON skill_grant (skill, permission);
    -- The person was asked about this code.
    CREATE TABLE skill_install (
        skill TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (skill, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE grant_clock (
        one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
        now_ms INTEGER NOT NULL,
        wall_ms INTEGER NOT NULL
    ) STRICT;
    -- Where what a skill keeps comes from, besides the person and the model.
    CREATE TABLE stored_taint (
        skill TEXT NOT NULL,
        label TEXT NOT NULL,
        PRIMARY KEY (skill, label)
    ) STRICT, WITHOUT ROWID;
";

/// The open file.
pub(crate) struct GrantStore {
    connection: Connection,
}

/// Whether two grants are about the same permission of the same code.
pub(crate) fn is_same_place(one: &Grant, other: &Grant) -> bool {
    one.skill == other.skill && one.permission == other.permission && one.digest == other.digest
}

impl GrantStore {
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_connection(data_dir)? })
    }

    /// Everything. A row that cannot be read grants nothing and is left alone.
    pub(crate) fn load(&mut self) -> Result<Memory, StoreError> {
        let mut memory = Memory::default();
        let mut statement = self.connection.prepare(
            "SELECT id, skill, digest, publisher, permission, scope, lifetime, session, granted_at, last_used,
                    granted_by, ended FROM skill_grant ORDER BY granted_at, id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match read_grant(row)? {
                Some(grant) => memory.grants.entry(grant.skill.clone()).or_default().push(grant),
                None => {
                    let id = row.get::<_, String>(0).unwrap_or_default();
                    tracing::warn!(id, "a grant cannot be read, so it grants nothing");
                }
            }
        }
        let mut statement = self.connection.prepare("SELECT skill, digest FROM skill_install")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            memory.installs.entry(row.get(0)?).or_default().insert(row.get(1)?);
        }
        Ok(memory)
    }

    pub(crate) fn clock(&self) -> Result<Option<Reading>, StoreError> {
        let reading = self
            .connection
            .query_row("SELECT now_ms, wall_ms FROM grant_clock", [], |row| {
                Ok(Reading { now_ms: row.get(0)?, wall_ms: row.get(1)? })
            })
            .optional()?;
        Ok(reading)
    }

    /// Everything or nothing.
    pub(crate) fn change(
        &mut self,
        added: &[Grant],
        ended: &[Grant],
        install: Option<(&str, &str)>,
        clock: Reading,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for over in ended {
            transaction.execute(
                "DELETE FROM skill_grant
                 WHERE skill = ?1 AND permission = ?2 AND digest = ?3 AND ended IS NOT NULL AND id <> ?4",
                params![over.skill, over.permission.as_str(), over.digest, over.id],
            )?;
            transaction.execute(
                "UPDATE skill_grant SET ended = ?2 WHERE id = ?1",
                params![over.id, over.ended.map(Ended::as_str)],
            )?;
        }
        for grant in added {
            transaction.execute(
                "INSERT INTO skill_grant (id, skill, digest, publisher, permission, scope, lifetime, session,
                                          granted_at, last_used, granted_by, ended)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL)",
                params![
                    grant.id,
                    grant.skill,
                    grant.digest,
                    grant.publisher,
                    grant.permission.as_str(),
                    Value::Object(grant.scope.to_json()).to_string(),
                    grant.lifetime.as_str(),
                    grant.lifetime.session().map(SessionId::as_str),
                    grant.granted_at_ms,
                    grant.last_used_ms,
                    grant.granted_by.as_str(),
                ],
            )?;
        }
        if let Some((skill, digest)) = install {
            transaction
                .execute("INSERT OR REPLACE INTO skill_install (skill, digest) VALUES (?1, ?2)", [skill, digest])?;
        }
        write_clock(&transaction, clock)?;
        transaction.commit()?;
        Ok(())
    }

    /// Forgets that the skill was ever installed.
    pub(crate) fn forget(&mut self, skill: &str) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM skill_grant WHERE skill = ?1", [skill])?;
        transaction.execute("DELETE FROM skill_install WHERE skill = ?1", [skill])?;
        transaction.execute("DELETE FROM stored_taint WHERE skill = ?1", [skill])?;
        transaction.commit()?;
        Ok(())
    }

    pub(crate) fn keep_clock(&mut self, clock: Reading) -> Result<(), StoreError> {
        write_clock(&self.connection, clock)
    }

    pub(crate) fn note_use(&mut self, id: &str, now_ms: i64, clock: Reading) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .execute("UPDATE skill_grant SET last_used = max(last_used, ?2) WHERE id = ?1", params![id, now_ms])?;
        write_clock(&transaction, clock)?;
        transaction.commit()?;
        Ok(())
    }
}

fn write_clock(connection: &Connection, clock: Reading) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO grant_clock (one, now_ms, wall_ms) VALUES (1, ?1, ?2)
         ON CONFLICT DO UPDATE SET now_ms = max(now_ms, excluded.now_ms), wall_ms = excluded.wall_ms",
        params![clock.now_ms, clock.wall_ms],
    )?;
    Ok(())
}

fn read_grant(row: &Row<'_>) -> Result<Option<Grant>, StoreError> {
    let permission = Permission::from_name(&row.get::<_, String>(4)?);
    let scope = serde_json::from_str::<Map<String, Value>>(&row.get::<_, String>(5)?).ok();
    let scope = permission.zip(scope).and_then(|(permission, map)| Scope::from_json(permission, &map).ok());
    let session = row.get::<_, Option<String>>(7)?.and_then(|text| text.parse::<SessionId>().ok());
    let lifetime = match (row.get::<_, String>(6)?.as_str(), session) {
        ("once", None) => Some(Lifetime::Once),
        ("always", None) => Some(Lifetime::Always),
        ("never", None) => Some(Lifetime::Never),
        ("session", Some(session)) => Some(Lifetime::Session(session)),
        _ => None,
    };
    let granted_by = Grantor::from_name(&row.get::<_, String>(10)?);
    let ended = match row.get::<_, Option<String>>(11)? {
        None => Some(None),
        Some(word) => Ended::from_name(&word).map(Some),
    };
    let (Some(permission), Some(scope), Some(lifetime), Some(granted_by), Some(ended)) =
        (permission, scope, lifetime, granted_by, ended)
    else {
        return Ok(None);
    };
    Ok(Some(Grant {
        id: row.get(0)?,
        skill: row.get(1)?,
        digest: row.get(2)?,
        publisher: row.get(3)?,
        permission,
        scope,
        lifetime,
        granted_at_ms: row.get(8)?,
        last_used_ms: row.get(9)?,
        granted_by,
        ended,
    }))
}
