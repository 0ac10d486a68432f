use super::read::Captures;
use super::side::Side;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s[s.rfind(')').unwrap() + 2..].split(' ').collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn peak() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS")).collect::<Vec<_>>().join(" ") }
#[test]
fn try_real() {
    let dir = std::path::PathBuf::from(std::env::var("NETSSMD_DATA").unwrap_or_default());
    if dir.as_os_str().is_empty() { return }
    let side = |f: &str| {
        let mut c = Captures::of(vec![dir.join(f)]);
        c.max_packets = std::env::var("MAXP").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
        Side::measure(&c, &()).expect("side")
    };
    for (a, b) in [("iot/train", "DUMP")] {
        if b == "DUMP" {
            let ra = side(a);
            let mut seen = std::collections::BTreeMap::<String, usize>::new();
            let rows: Vec<_> = ra.sessions().iter().filter_map(|s| {
                let n = seen.entry(s.label.clone()?).or_default();
                *n += 1;
                (*n <= 6).then(|| (s.label.clone(), super::features::bits::row(s, 0, 10)))
            }).collect();
            std::fs::write("/tmp/fid2-dump.json", serde_json::to_string(&rows).unwrap()).unwrap();
            let labels: Vec<_> = seen.keys().cloned().collect();
            let y: Vec<u16> = rows.iter().map(|r| labels.iter().position(|l| Some(l) == r.0.as_ref()).unwrap() as u16).collect();
            let m = super::classify::Matrix::new(rows.len(), rows[0].1.len(), |r, c| f64::from(rows[r].1[c]));
            let d = super::classify::Distances::of(&m);
            let mut splits = vec![];
            for rep in 0..4u64 {
                use rand::{SeedableRng, seq::SliceRandom};
                let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(rep);
                let mut order: Vec<usize> = (0..y.len()).collect();
                order.shuffle(&mut rng);
                let mut k = vec![0; labels.len()];
                let (mut tr, mut te) = (vec![], vec![]);
                for &i in &order { let c = y[i]; k[c as usize] += 1; if k[c as usize] <= 2 { tr.push(i as u32) } else { te.push(i as u32) } }
                let truth: Vec<u16> = te.iter().map(|&r| y[r as usize]).collect();
                let acc: Vec<f64> = (0..6).map(|seed| super::classify::accuracy(&truth, &super::classify::Svm::fit(&d, &tr, &y, labels.len(), seed).predict(&te))).collect();
                println!("DUMP svm rep {rep} {acc:?}");
                splits.push((tr, te, acc));
            }
            std::fs::write("/tmp/fid2-splits.json", serde_json::to_string(&(splits, &y)).unwrap()).unwrap();
            for seed in 1..7 {
                let d = super::discriminate::analyse(&side("iot/train"), &side("iot/val"), None, &super::discriminate::Options { seed, ..Default::default() });
                println!("DUMP seed {seed} {}", d.chapter().verdict);
            }
            continue;
        }
        let (ra, rb) = (side(a), side(b));
        let t = cpu();
        let d = super::discriminate::analyse(&ra, &rb, None, &Default::default());
        println!("{a} {b} discriminate {:?}\n  {}", (cpu() - t, peak()), d.chapter().verdict);
        for i in d.chapter().items { if let super::page::Item::Table(t) = i { println!("{} {:?}", t.caption, t.head); for r in t.rows { println!("   {}", r.join(" | ")) } } else { println!("{i:?}") } }
        let t = cpu();
        let u = super::utility::analyse(&ra, &rb, None, &Default::default());
        println!("{a} {b} utility {:?}\n  {}", (cpu() - t, peak()), u.chapter().verdict);
        for i in u.chapter().items { if let super::page::Item::Table(t) = i { println!("{} {:?}", t.caption, t.head); for r in t.rows { println!("   {}", r.join(" | ")) } } else { println!("{i:?}") } }
    }
}
