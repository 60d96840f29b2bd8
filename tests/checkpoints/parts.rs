//! Archives taken apart and put together again, with right checksums.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// A sound archive, taken apart.
#[derive(Clone)]
pub struct Parts {
    /// Names and content, without the checksums.
    pub members: Vec<(String, Vec<u8>)>,
    /// Whether it had checksums.
    pub checksummed: bool,
}

impl Parts {
    pub fn of(archive: &[u8]) -> Self {
        let mut tar = tar::Archive::new(GzDecoder::new(archive));
        let mut members = Vec::new();
        for member in tar.entries().unwrap() {
            let mut member = member.unwrap();
            let name = member.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            members.push((name, bytes));
        }
        let before = members.len();
        members.retain(|(name, _)| name != "checksums.json");
        Parts {
            checksummed: members.len() < before,
            members,
        }
    }

    /// As mneme-cache writes it: without checksums, and without a word of ours.
    pub fn of_peer(mut self) -> Self {
        self.checksummed = false;
        let mut manifest: Value = serde_json::from_slice(&self.members[0].1).unwrap();
        manifest.as_object_mut().unwrap().remove("mneme");
        self.members[0].1 = manifest.to_string().into_bytes();
        self
    }

    /// The archive.
    pub fn archive(&self) -> Vec<u8> {
        gzip(&self.tar(), 1)
    }

    pub fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut append = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            // A name that tar refuses is not what is looked for here.
            let _ = tar.append_data(&mut header, name, bytes);
        };
        for (name, bytes) in &self.members {
            append(name, bytes);
        }
        if self.checksummed {
            append("checksums.json", self.checksums().to_string().as_bytes());
        }
        tar.into_inner().unwrap()
    }

    fn checksums(&self) -> Value {
        let sum = |bytes: &[u8]| -> String {
            let digest = Sha256::digest(bytes);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let member = |(name, bytes): &(String, Vec<u8>)| json!({"name": name, "size": bytes.len(), "sha256": sum(bytes)});
        let rows = self
            .members
            .iter()
            .filter(|(name, _)| name.starts_with("entries/"));
        let rows = rows.map(|(_, lines)| lines.iter().filter(|&&byte| byte == b'\n').count());
        let portable = self.member("state.json").is_some();
        json!({
            "members": self.members.iter().map(member).collect::<Vec<_>>(),
            "entries": portable.then(|| rows.sum::<usize>()),
        })
    }

    pub fn member(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(found, _)| found == name)
    }
}

pub fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
