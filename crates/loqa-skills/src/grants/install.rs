//! What an installation, an upgrade and a removal do to the grants of a skill.

use crate::grants::{Ended, Grant, GrantError, Grantor, Grants, Lifetime, NewGrant, record};
use crate::manifest::Manifest;
use crate::permission::{Permission, Requested, Tier};
use crate::scope::tier_in;
use loqa_audit::Kind;
use std::sync::PoisonError;

impl Grants {
    /// Whether the person was asked about this code.
    #[must_use]
    pub fn is_installed(&self, skill: &str, digest: &str) -> bool {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.installs.get(skill).is_some_and(|installs| installs.contains(digest))
    }

    /// Grants what the person agreed to when the skill was installed: T0 by itself, and
    /// of T1 what `accepted` says. Asked about the same code again, it changes nothing:
    /// what was revoked since stays revoked. Of a bundled skill's new version, what the
    /// person revoked in an earlier one stays revoked too.
    pub fn grant_at_install(
        &self,
        manifest: &Manifest,
        digest: &str,
        publisher: Option<&str>,
        accepted: &dyn Fn(&Requested) -> bool,
        by: Grantor,
    ) -> Result<Vec<Grant>, GrantError> {
        let skill = manifest.name.as_str();
        let mut store = self.store();
        if self.is_installed(skill, digest) {
            return Ok(Vec::new());
        }
        let wanted = manifest.permissions.iter().filter(|requested| {
            let permission = requested.permission;
            permission.is_offered()
                && match tier_in(permission, &requested.scope) {
                    Tier::T0 => true,
                    Tier::T1 => accepted(requested),
                    Tier::T2 | Tier::T3 | Tier::T4 => false,
                }
                && !(by == Grantor::Bundled && self.was_refused(skill, permission))
                && !self.has_never(skill, permission)
        });
        let added = wanted
            .map(|requested| {
                self.make(NewGrant {
                    skill: skill.to_owned(),
                    digest: digest.to_owned(),
                    publisher: publisher.map(str::to_owned),
                    permission: requested.permission,
                    scope: requested.scope.resolved(requested.permission),
                    lifetime: Lifetime::Always,
                    granted_by: by,
                })
            })
            .collect::<Vec<_>>();
        let ended = added.iter().flat_map(|grant| self.replaced_by(grant)).collect::<Vec<_>>();
        self.change(&mut store, added.clone(), &ended, Some((skill, digest)))?;
        Ok(added)
    }

    /// Lets another version of a skill keep what the one with the digest `from` was granted,
    /// as far as its manifest asks for it; the upgrade rule has found that nothing widens.
    pub fn carry_over(
        &self,
        manifest: &Manifest,
        from: &str,
        to: &str,
        publisher: Option<&str>,
    ) -> Result<Vec<Grant>, GrantError> {
        let skill = manifest.name.as_str();
        let mut store = self.store();
        let kept = {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            let held = memory.grants.get(skill).into_iter().flatten();
            held.filter(|grant| {
                grant.ended.is_none()
                    && grant.digest == from
                    && grant.lifetime == Lifetime::Always
                    && manifest.requested(grant.permission).is_some()
            })
            .cloned()
            .collect::<Vec<_>>()
        };
        let added = kept
            .into_iter()
            .map(|grant| Grant {
                // What was not used for a while does not become fresh by an upgrade.
                last_used_ms: grant.last_used_ms,
                ..self.make(NewGrant {
                    skill: grant.skill,
                    digest: to.to_owned(),
                    publisher: publisher.map(str::to_owned),
                    permission: grant.permission,
                    scope: grant.scope,
                    lifetime: grant.lifetime,
                    granted_by: Grantor::Upgrade,
                })
            })
            .collect::<Vec<_>>();
        let ended = added.iter().flat_map(|grant| self.replaced_by(grant)).collect::<Vec<_>>();
        self.change(&mut store, added.clone(), &ended, Some((skill, to)))?;
        Ok(added)
    }

    /// Takes everything from a skill that is removed, also that it was ever installed.
    pub fn forget(&self, skill: &str) -> Result<(), GrantError> {
        let mut store = self.store();
        store.forget(skill)?;
        let ended = {
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            memory.installs.remove(skill);
            memory.grants.remove(skill).unwrap_or_default()
        };
        drop(store);
        for grant in ended.iter().filter(|grant| grant.ended.is_none()) {
            self.journal.append_later(record(Kind::GrantRevoke, grant, Grantor::Operator, "removed"));
        }
        self.tell(skill, None);
        Ok(())
    }

    /// Whether the person took it away from an earlier version, and did not give it again.
    fn was_refused(&self, skill: &str, permission: Permission) -> bool {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let of_permission =
            || memory.grants.get(skill).into_iter().flatten().filter(|grant| grant.permission == permission);
        of_permission().any(|grant| grant.ended == Some(Ended::Revoked))
            && !of_permission().any(|grant| grant.ended.is_none() && grant.lifetime == Lifetime::Always)
    }

    fn has_never(&self, skill: &str, permission: Permission) -> bool {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory
            .grants
            .get(skill)
            .into_iter()
            .flatten()
            .any(|grant| grant.permission == permission && grant.ended.is_none() && grant.lifetime == Lifetime::Never)
    }
}
