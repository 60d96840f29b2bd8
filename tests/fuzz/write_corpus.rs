//! Writes the corpora: small archives of each layout and compression, the tar files in them,
//! and small indexes. Run it where a format has changed: `cargo run --bin write_corpus`.

use mneme_guest::checkpoint::default_dump_options;
use mneme_guest::index::Index;
use mneme_guest::testing::{TestArchive, plain, response};
use mneme_guest::types::{Compression, IndexKind, Layout, TtlChoice, VectorDtype, VectorSource};
use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let (archives, members) = (
        corpus.join("checkpoint_archive"),
        corpus.join("checkpoint_members"),
    );
    fs::create_dir_all(&archives)?;
    fs::create_dir_all(&members)?;
    for entries in [0, 3] {
        for (layout, layout_name) in [(Layout::Native, "native"), (Layout::Portable, "portable")] {
            for (compression, suffix) in [(Compression::Gzip, "gz"), (Compression::Zstd, "zst")] {
                let (mut cache, _) = mneme_fuzz::cache();
                for n in 0..entries {
                    let mut request = response(&format!("question {n}"), 0.0);
                    request.vector = VectorSource::Given(mneme_fuzz::vector(n));
                    request.ttl = TtlChoice::Seconds(u64::from(n));
                    cache.put(request).expect("a memory store takes an entry");
                }
                cache
                    .set_namespace_quota("n", Some(9))
                    .expect("a memory store takes a quota");
                let archive = TestArchive::default();
                let mut options = default_dump_options();
                options.layout = Some(layout);
                options.compression = compression;
                cache
                    .dump(&options, &archive)
                    .expect("a memory store is dumped");
                let name = format!("{layout_name}-{entries}.tar");
                let archived = archives.join(format!("{name}.{suffix}"));
                fs::write(archived, &*archive.bytes.borrow())?;
                fs::write(members.join(name), plain(&archive))?;
            }
        }
    }
    let indexes = corpus.join("kept_index");
    fs::create_dir_all(&indexes)?;
    for (number, (dim, dtype)) in mneme_fuzz::INDEXES.into_iter().enumerate() {
        let mut index = Index::new(dim, dtype).searching(IndexKind::Hnsw, mneme_fuzz::GRAPH);
        index.learn_from(4);
        // One scope is large enough to be encoded.
        for n in 1..=70 {
            let scope = mneme_fuzz::SCOPES[usize::from(n == 4) + 2 * usize::from(n == 6)];
            index
                .add(scope, n, 1000, &mneme_fuzz::long_vector(dim, n as u32))
                .expect("there is memory");
        }
        while index.work(u64::MAX) {}
        index.seal_all().expect("there is memory");
        let mut bytes = vec![number as u8];
        index.write(&mut bytes).expect("it is encoded");
        let dtype = match dtype {
            VectorDtype::Int8 => "int8",
            _ => "float32",
        };
        fs::write(indexes.join(format!("{dim}-{dtype}")), bytes)?;
    }
    Ok(())
}
