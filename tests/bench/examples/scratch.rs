use mneme::embedder::Precomputed;
use mneme::*;
use std::time::Instant;
fn open(path: &str) -> SemanticCache {
    let _ = std::fs::remove_file(path);
    SemanticCache::builder()
        .boxed_store(store::from_url(&format!("sqlite:{path}")).unwrap())
        .embedder(Precomputed::new("b", 384))
        .memory_limit(1 << 32)
        .open()
        .unwrap()
}
fn vec_of(n: usize) -> Vec<f32> {
    let mut s = n as u64 * 7919 + 1;
    (0..384)
        .map(|_| {
            s = s
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            ((s >> 33) as f32) / (1u64 << 31) as f32 - 0.5
        })
        .collect()
}
fn med(mut t: Vec<f64>) -> f64 {
    t.sort_by(f64::total_cmp);
    t[t.len() / 2]
}
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    if mode == "ctx" {
        let n = 100_000;
        let one = open("/tmp/s_one.db");
        let many = open("/tmp/s_many.db");
        let ctx = |m: bool, i: usize| {
            if m {
                format!("{i:064}")
            } else {
                "c".to_string()
            }
        };
        for (m, c) in [(false, &one), (true, &many)] {
            for f in (0..n).step_by(1000) {
                c.put_many(
                    (f..f + 1000)
                        .map(|i| {
                            PutRequest::new(format!("q{i}"), "r")
                                .context(ctx(m, i))
                                .embedding(vec_of(i))
                        })
                        .collect(),
                )
                .unwrap();
            }
            c.warm_up().unwrap();
        }
        println!("filled");
        let (mut p, mut g, mut e) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
        for r in 0..2000 {
            for (k, c) in [&one, &many].into_iter().enumerate() {
                let i = n + r;
                let t = Instant::now();
                c.put(
                    PutRequest::new(format!("q{i}"), "r")
                        .context(ctx(k == 1, i))
                        .embedding(vec_of(i)),
                )
                .unwrap();
                p[k].push(t.elapsed().as_secs_f64());
                let j = (r * 37) % n;
                let t = Instant::now();
                let h = c
                    .get(
                        GetRequest::new("other")
                            .context(ctx(k == 1, j))
                            .embedding(vec_of(j)),
                    )
                    .unwrap();
                g[k].push(t.elapsed().as_secs_f64());
                assert!(h.is_hit());
                let t = Instant::now();
                let h = c
                    .get(GetRequest::new(format!("q{j}")).context(ctx(k == 1, j)))
                    .unwrap();
                e[k].push(t.elapsed().as_secs_f64());
                assert!(h.is_hit());
            }
        }
        for (w, [a, b]) in [("put", p), ("semantic", g), ("exact", e)] {
            let (a, b) = (med(a), med(b));
            println!(
                "{w}: one {:.1} us, many {:.1} us, ratio {:.2}",
                a * 1e6,
                b * 1e6,
                b / a
            );
        }
    } else {
        let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
        let url = std::env::args().nth(3).unwrap();
        let c = SemanticCache::builder()
            .boxed_store(store::from_url(&url).unwrap())
            .embedder(Precomputed::new("b", 384))
            .memory_limit(1 << 32)
            .call_timeout(std::time::Duration::from_secs(600))
            .open()
            .unwrap();
        let t = Instant::now();
        for f in (0..n).step_by(1000) {
            c.put_many(
                (f..f + 1000)
                    .map(|i| {
                        let p = PutRequest::new(format!("q{i}"), "r").embedding(vec_of(i));
                        if i % (n / 1000) == 7 {
                            p.tag("gone").tag("x")
                        } else if i % (n / 20) == 3 {
                            p.tag("few")
                        } else {
                            p
                        }
                    })
                    .collect(),
            )
            .unwrap();
        }
        println!("filled {n} in {:?}", t.elapsed());
        for tag in ["none", "few", "gone"] {
            for dry in [true, false] {
                let t = Instant::now();
                let r = c.erase(&EntryFilter::new().tag(tag), dry).unwrap();
                let el = t.elapsed();
                println!(
                    "erase {tag} dry {dry}: {} entries {:.1} ms, bound {:.1} ms",
                    r.ids.len(),
                    el.as_secs_f64() * 1e3,
                    100.0 + 0.05 * r.ids.len() as f64
                );
            }
        }
        let t = Instant::now();
        c.vacuum(None, false).unwrap();
        println!("vacuum {:?}", t.elapsed());
        let t = Instant::now();
        c.list_entries(&EntryFilter::new(), 0, 100).unwrap();
        println!("list {:?}", t.elapsed());
        let t = Instant::now();
        let r = c.erase(&EntryFilter::new().query("Q5"), true).unwrap();
        println!("by query {:?} {:?}", t.elapsed(), r.ids);
        let t = Instant::now();
        let r = c.erase(&EntryFilter::new().context("x"), true).unwrap();
        println!("by context {:?} {}", t.elapsed(), r.ids.len());
        let t = Instant::now();
        let r = c.erase(&EntryFilter::new().min_age(100000), true).unwrap();
        println!("by age {:?} {}", t.elapsed(), r.ids.len());
    }
}
