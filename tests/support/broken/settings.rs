//! Faults of quotas and meta.

use super::{Fault, Sound};
use mneme::store::{Result, StoreError};

/// Sets quotas in another way.
pub struct SetsQuota(pub fn(&mut Sound, &str, Option<u64>) -> Result<()>);

impl Fault for SetsQuota {
    fn set_namespace_quota(
        &mut self,
        store: &mut Sound,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Result<()> {
        (self.0)(store, namespace, max_entries)
    }
}

/// Changes what a quota says.
pub struct SaysQuota(pub fn(&mut Sound, &str, Option<u64>) -> Result<Option<u64>>);

impl Fault for SaysQuota {
    fn get_namespace_quota(&mut self, store: &mut Sound, namespace: &str) -> Result<Option<u64>> {
        let quota = store.get_namespace_quota(namespace)?;
        (self.0)(store, namespace, quota)
    }
}

/// Changes the list of quotas.
pub struct ListsQuotas(pub fn(&mut Sound, &mut Quotas) -> Result<()>);

/// Namespaces with their quotas.
pub type Quotas = Vec<(String, u64)>;

impl Fault for ListsQuotas {
    fn list_namespace_quotas(&mut self, store: &mut Sound) -> Result<Vec<(String, u64)>> {
        let mut quotas = store.list_namespace_quotas()?;
        (self.0)(store, &mut quotas)?;
        Ok(quotas)
    }
}

/// Replaces values in another way.
pub struct ReplacesMeta(pub fn(&mut Sound, &str, Option<&str>, Option<&str>) -> Result<bool>);

impl Fault for ReplacesMeta {
    fn replace_meta(
        &mut self,
        store: &mut Sound,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        (self.0)(store, key, expected, value)
    }
}

/// Reads values in another way.
pub struct ReadsMeta(pub fn(&str, Option<String>) -> Option<String>);

impl Fault for ReadsMeta {
    fn read_meta(&mut self, store: &mut Sound, key: &str) -> Result<Option<String>> {
        let value = store.read_meta(key)?;
        Ok((self.0)(key, value))
    }
}

/// Changes the list of meta values.
pub struct ListsMeta(pub fn(&mut Listed));

/// Meta keys with their values.
pub type Listed = Vec<(String, String)>;

impl Fault for ListsMeta {
    fn list_meta(&mut self, store: &mut Sound) -> Result<Listed> {
        let mut listed = store.list_meta()?;
        (self.0)(&mut listed);
        Ok(listed)
    }
}

/// Lists the meta values that were there when it was first asked.
#[derive(Default)]
pub struct StaleList(Option<Listed>);

impl Fault for StaleList {
    fn list_meta(&mut self, store: &mut Sound) -> Result<Listed> {
        let listed = store.list_meta()?;
        Ok(self.0.get_or_insert(listed).clone())
    }
}

/// Sets a value whatever it is.
///
/// # Errors
///
/// Those of the store.
pub fn regardless(
    store: &mut Sound,
    key: &str,
    _expected: Option<&str>,
    value: Option<&str>,
) -> Result<bool> {
    let present = store.read_meta(key)?;
    store.replace_meta(key, present.as_deref(), value)
}

/// Takes the store's own keys for anybody's.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn reserved_too(
    store: &mut Sound,
    key: &str,
    expected: Option<&str>,
    value: Option<&str>,
) -> Result<bool> {
    match store.replace_meta(key, expected, value) {
        Err(StoreError::InvalidArgument(_)) => Ok(true),
        result => result,
    }
}

/// Keys and values by other rules.
pub struct MetaText {
    /// What becomes of keys.
    pub key: fn(&str) -> String,
    /// What becomes of values.
    pub value: fn(&str) -> String,
}

impl Fault for MetaText {
    fn read_meta(&mut self, store: &mut Sound, key: &str) -> Result<Option<String>> {
        store.read_meta(&(self.key)(key))
    }

    fn replace_meta(
        &mut self,
        store: &mut Sound,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        let value = value.map(self.value);
        let expected = expected.map(self.value);
        store.replace_meta(&(self.key)(key), expected.as_deref(), value.as_deref())
    }
}
