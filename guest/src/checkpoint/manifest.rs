//! `manifest.json`: what an archive contains, and whether it fits a cache.

use super::{MANIFEST, MAX_DESCRIPTION_BYTES, check_number, refused};
use crate::error::{Result, describe, dimension, invalid};
use crate::options;
use crate::types::{Error, FingerprintMismatch, Layout, Manifest, VectorDtype};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The format that this release writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The schema of the stores' data.
pub const SCHEMA_VERSION: u32 = 1;
/// The store's kind in the manifest of a portable archive. mneme-cache refuses it.
const PORTABLE: &str = "portable";

/// The file: mneme-cache's fields, and this library's in `mneme`.
#[derive(Serialize, Deserialize)]
struct File {
    format_version: u32,
    schema_version: u32,
    embedder_fingerprint: String,
    embedder_dim: u32,
    /// mneme-cache expects `numpy` or `hnsw`.
    #[serde(default)]
    index_backend: String,
    store_backend: String,
    vector_dtype: String,
    created_at: u64,
    #[serde(deserialize_with = "names")]
    namespaces: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mneme: Option<Ours>,
}

#[derive(Serialize, Deserialize)]
struct Ours {
    version: String,
    /// The kind of store that was dumped.
    store: String,
    consistent: bool,
}

/// The field that is read first, because later formats may have other fields.
#[derive(Deserialize)]
struct Version {
    format_version: u64,
}

/// The text of a manifest.
pub fn encode(manifest: &Manifest) -> Result<Vec<u8>> {
    let file = File {
        format_version: manifest.format_version,
        schema_version: manifest.schema_version,
        embedder_fingerprint: manifest.embedder_fingerprint.clone(),
        embedder_dim: manifest.embedder_dim,
        index_backend: "numpy".into(),
        store_backend: match manifest.layout {
            Layout::Native => manifest.store.clone(),
            Layout::Portable => PORTABLE.into(),
        },
        vector_dtype: dtype_name(manifest.vector_dtype).into(),
        created_at: manifest.created_at,
        namespaces: manifest.namespaces.clone(),
        mneme: Some(Ours {
            version: env!("CARGO_PKG_VERSION").into(),
            store: manifest.store.clone(),
            consistent: manifest.consistent,
        }),
    };
    let text = serde_json::to_vec_pretty(&file)
        .map_err(|error| Error::Checkpoint(format!("{MANIFEST} cannot be written: {error}")))?;
    if text.len() as u64 > MAX_DESCRIPTION_BYTES {
        return Err(Error::Checkpoint(format!(
            "{MANIFEST} would have {} bytes, because of the names of {} namespaces; at most {MAX_DESCRIPTION_BYTES} are read back",
            text.len(),
            manifest.namespaces.len()
        )));
    }
    Ok(text)
}

/// Reads a manifest.
pub fn decode(text: &[u8]) -> Result<Manifest> {
    let malformed = |error: serde_json::Error| refused(MANIFEST, error);
    let version: Version = serde_json::from_slice(text).map_err(malformed)?;
    if version.format_version != u64::from(FORMAT_VERSION) {
        return Err(refused(
            MANIFEST,
            format!(
                "format_version is {}, and this release reads {FORMAT_VERSION}; use a newer one",
                version.format_version
            ),
        ));
    }
    let file: File = serde_json::from_slice(text).map_err(malformed)?;
    if file.schema_version != SCHEMA_VERSION {
        return Err(Error::Schema(format!(
            "member {MANIFEST:?}: schema_version is {}, and this release knows {SCHEMA_VERSION}; nothing was loaded",
            file.schema_version
        )));
    }
    check_number(MANIFEST, "created_at", file.created_at)?;
    options::check_embedder(&file.embedder_fingerprint, file.embedder_dim)
        .map_err(|error| refused(MANIFEST, describe(&error)))?;
    let vector_dtype = dtype(&file.vector_dtype).ok_or_else(|| {
        refused(
            MANIFEST,
            format!("vector_dtype {:?} is unknown", file.vector_dtype),
        )
    })?;
    let layout = match file.store_backend == PORTABLE {
        true => Layout::Portable,
        false => Layout::Native,
    };
    if layout == Layout::Portable && file.mneme.is_none() {
        return Err(refused(
            MANIFEST,
            "store_backend is \"portable\", and the field mneme is missing",
        ));
    }
    let store = match (&file.mneme, layout) {
        (Some(ours), Layout::Portable) => ours.store.clone(),
        _ => file.store_backend,
    };
    Ok(Manifest {
        format_version: file.format_version,
        schema_version: file.schema_version,
        embedder_fingerprint: file.embedder_fingerprint,
        embedder_dim: file.embedder_dim,
        layout,
        store,
        vector_dtype,
        created_at: file.created_at,
        namespaces: file.namespaces,
        consistent: file.mneme.as_ref().is_none_or(|ours| ours.consistent),
        written_by: file.mneme.map(|ours| format!("mneme {}", ours.version)),
    })
}

/// Valid names of namespaces, each once. The first that is not ends the reading, so that memory is
/// bounded by names that differ.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = BTreeSet<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the names of namespaces")
        }

        fn visit_seq<A: SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut names = BTreeSet::new();
            while let Some(name) = items.next_element::<String>()? {
                options::check_namespace(&name)
                    .map_err(|error| A::Error::custom(describe(&error)))?;
                if let Some(twice) = names.replace(name) {
                    let error = format!("the namespace {twice:?} comes twice in namespaces");
                    return Err(A::Error::custom(error));
                }
            }
            Ok(names)
        }
    }
    Ok(deserializer.deserialize_seq(Names)?.into_iter().collect())
}

/// Refuses an archive that was made with another embedder.
pub fn check_embedder(manifest: &Manifest, fingerprint: &str, dim: u32) -> Result<()> {
    if manifest.embedder_fingerprint != fingerprint {
        return Err(Error::EmbedderMismatch(FingerprintMismatch {
            stored: manifest.embedder_fingerprint.clone(),
            given: fingerprint.to_owned(),
        }));
    }
    if manifest.embedder_dim != dim {
        return Err(dimension(dim, manifest.embedder_dim as usize));
    }
    Ok(())
}

/// Refuses a native archive that this kind of store cannot take in.
pub fn check_store(manifest: &Manifest, store: &str, snapshots: bool) -> Result<()> {
    if manifest.layout == Layout::Portable || (snapshots && manifest.store == store) {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "the archive holds a snapshot of a {:?} store, which a {store:?} store cannot read; load it into a new {} store and dump that with the portable layout, which fits every store",
        manifest.store, manifest.store
    )))
}

/// Refuses an archive whose manifest lacks a namespace of `wanted`.
pub fn check_namespaces(manifest: &Manifest, wanted: &[String]) -> Result<()> {
    let present: BTreeSet<&String> = manifest.namespaces.iter().collect();
    match wanted.iter().find(|name| !present.contains(name)) {
        Some(missing) => Err(invalid(format!(
            "the archive has no namespace {missing:?}; inspect lists those that it has"
        ))),
        None => Ok(()),
    }
}

fn dtype_name(dtype: VectorDtype) -> &'static str {
    match dtype {
        VectorDtype::Float32 => "float32",
        VectorDtype::Float16 => "float16",
        VectorDtype::Int8 => "int8",
    }
}

fn dtype(name: &str) -> Option<VectorDtype> {
    [
        VectorDtype::Float32,
        VectorDtype::Float16,
        VectorDtype::Int8,
    ]
    .into_iter()
    .find(|&dtype| dtype_name(dtype) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As mneme-cache 1.0.1 writes it.
    const PEER: &str = r#"{
      "created_at": 1795563008, "embedder_dim": 4, "embedder_fingerprint": "fp",
      "format_version": 1, "index_backend": "hnsw", "namespaces": ["default"],
      "schema_version": 1, "store_backend": "sqlite", "vector_dtype": "int8"
    }"#;

    fn manifest(layout: Layout) -> Manifest {
        Manifest {
            format_version: 1,
            schema_version: 1,
            embedder_fingerprint: "fp".into(),
            embedder_dim: 4,
            layout,
            store: "sqlite".into(),
            vector_dtype: VectorDtype::Float16,
            created_at: 7,
            namespaces: vec!["a".into(), "b\u{1f600}".into()],
            written_by: Some(format!("mneme {}", env!("CARGO_PKG_VERSION"))),
            consistent: false,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for layout in [Layout::Native, Layout::Portable] {
            let manifest = manifest(layout);
            assert_eq!(decode(&encode(&manifest).unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn the_peers_manifest_is_read() {
        let read = decode(PEER.as_bytes()).unwrap();
        assert_eq!(read.layout, Layout::Native);
        assert_eq!(read.store, "sqlite");
        assert_eq!(read.vector_dtype, VectorDtype::Int8);
        assert_eq!((read.written_by, read.consistent), (None, true));
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_versions_refused() {
        let more = PEER.replacen('{', r#"{"new": [{"x": 1}],"#, 1);
        assert_eq!(
            decode(more.as_bytes()).unwrap(),
            decode(PEER.as_bytes()).unwrap()
        );
        let later = r#"{"format_version": 2, "everything": "else"}"#;
        let error = decode(later.as_bytes()).unwrap_err();
        assert!(
            matches!(&error, Error::Checkpoint(m) if m.contains("format_version is 2")),
            "{error:?}"
        );
        let schema = PEER.replace(r#""schema_version": 1"#, r#""schema_version": 2"#);
        assert!(matches!(decode(schema.as_bytes()), Err(Error::Schema(_))));
    }

    #[test]
    fn broken_manifests_are_refused() {
        let broken = [
            ("", ""),
            (PEER, ""),
            (r#""embedder_dim": 4"#, r#""embedder_dim": -4"#),
            (r#""embedder_dim": 4"#, r#""embedder_dim": 0"#),
            (r#""embedder_dim": 4"#, r#""embedder_dim": 8193"#),
            (r#""embedder_dim": 4"#, r#""embedder_dim": 1073741824"#),
            (r#""fp""#, r#""""#),
            (r#""fp""#, r#""\u0000""#),
            (r#"["default"]"#, r#"[""]"#),
            (r#"["default"]"#, r#"["a\u0000"]"#),
            (r#"["default"]"#, r#"["a", "b", "a"]"#),
            ("1795563008", "9007199254740992"),
            (r#""embedder_dim": 4"#, r#""embedder_dim": 4e9"#),
            (
                r#""embedder_dim": 4"#,
                r#""embedder_dim": 4, "embedder_dim": 5"#,
            ),
            (r#""format_version": 1"#, r#""format_version": -1"#),
            (
                r#""format_version": 1"#,
                r#""format_version": 1, "format_version": 1"#,
            ),
            (r#""format_version": 1,"#, ""),
            (r#"["default"]"#, r#"[1]"#),
            (r#"["default"]"#, "null"),
            ("1795563008", "18446744073709551615"),
            ("1795563008", "99999999999999999999"),
            (r#""int8""#, r#""int4""#),
            (r#""sqlite""#, r#""portable""#),
            (
                r#"["default"]"#,
                &format!("{}{}", "[".repeat(9000), "]".repeat(9000)),
            ),
        ];
        for (from, to) in broken {
            let text = match from {
                "" => String::new(),
                from => PEER.replace(from, to),
            };
            assert!(
                matches!(decode(text.as_bytes()), Err(Error::Checkpoint(_))),
                "{from} -> {to}"
            );
        }
    }

    #[test]
    fn an_archive_must_fit_the_cache() {
        let native = manifest(Layout::Native);
        assert!(check_embedder(&native, "fp", 4).is_ok());
        assert!(matches!(
            check_embedder(&native, "other", 4),
            Err(Error::EmbedderMismatch(_))
        ));
        assert!(matches!(
            check_embedder(&native, "fp", 5),
            Err(Error::EmbedderDimension(_))
        ));
        assert!(check_store(&native, "sqlite", true).is_ok());
        let error = check_store(&native, "redis", false).unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported(m) if m.contains("portable")),
            "{error:?}"
        );
        assert!(check_store(&manifest(Layout::Portable), "redis", false).is_ok());
        assert!(check_namespaces(&native, &["a".into()]).is_ok());
        assert!(check_namespaces(&native, &["c".into()]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..300_usize) {
            let _ = decode(&bytes);
            let mut text = PEER.as_bytes().to_vec();
            let at = at.min(text.len());
            text.splice(at..(at + bytes.len() / 4).min(text.len()), bytes);
            let _ = decode(&text);
        }
    }
}
