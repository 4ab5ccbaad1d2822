//! Random system calls with arguments of every kind: the host's results natively and in views, and nothing that harms umvu.

use crate::harness::{Flavour, Site, View, difference, helper};
use std::fs;
use vu_core::table::{self, Support};

/// The runs differ by these only; each is some thousand calls.
const SEEDS: [u64; 2] = [1, 4];
const BATCHES: u32 = 160;
const CALLS_OF_A_BATCH: u32 = 32;
const RECORD: usize = 32;

/// What `tests/c/random_calls.c` reads: batches of records, and at the end one that runs /bin/true.
fn input(seed: u64) -> Vec<u8> {
    let mut state = seed;
    // splitmix64
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes = Vec::new();
    for _ in 0..BATCHES {
        bytes.extend(CALLS_OF_A_BATCH.to_le_bytes());
        for _ in 0..CALLS_OF_A_BATCH as usize * RECORD / 8 {
            bytes.extend(random().to_le_bytes());
        }
    }
    bytes.extend(0u32.to_le_bytes());
    bytes
}

/// The options that leave out the calls whose results in a view are others on purpose.
fn skipped() -> String {
    let differs = |row: &&table::Row| {
        matches!(row.support, Support::Refused { .. })
            // landlock_restrict_self asks for no_new_privs, which every process of a view has.
            || matches!(row.name, "mount" | "umount" | "umount2" | "chroot" | "umvu_control" | "landlock_restrict_self")
    };
    let list = |number: fn(&table::Row) -> Option<i64>| {
        let numbers: Vec<String> =
            table::rows().filter(differs).filter_map(number).map(|number| number.to_string()).collect();
        numbers.join(",")
    };
    format!("-s {} -i {}", list(|row| row.nr), list(|row| row.i386.or(row.nr)))
}

fn check_output(seed: u64, output: &str) {
    assert!(output.ends_with(".\n.\n"), "seed {seed}: it ends early: {:?}", output.lines().last());
    assert_eq!(output.lines().filter(|line| *line == ".").count(), BATCHES as usize + 1, "seed {seed}");
    let hanging: Vec<&str> = output.lines().filter(|line| line.ends_with("= hangs")).collect();
    assert!(hanging.is_empty(), "seed {seed}: {hanging:#?}");
}

#[test]
fn random_calls_have_the_results_of_the_host() {
    let program = helper("random_calls", Flavour::Static);
    let mut failures = Vec::new();
    for seed in SEEDS {
        let site = Site::new();
        fs::write(site.path().join("calls"), input(seed)).unwrap();
        let script = format!("mkdir -p \"$W/r\" && exec {} {} \"$W/r\" < \"$D/calls\"", program.display(), skipped());
        // Inside a bind, names lie in two mounts where they lay in one file system (EXDEV), and are longer.
        for view in [View::Nothing, View::Beside, View::Root] {
            // Some results are the machine's of the moment (memory, timing, what other tests do): a true difference stays when both are asked again.
            let attempt = || {
                let native = site.script_in(None, "sh", &script).ok();
                check_output(seed, &native);
                let ran = site.script_in(Some(view), "sh", &script);
                let seen = ran.stdout();
                let same = seen == native && ran.status.success() && ran.stderr.is_empty();
                if same { Ok(()) } else { Err((difference(&native, &seen), ran)) }
            };
            if let Err((difference, ran)) = attempt().or_else(|_| attempt()).or_else(|_| attempt()) {
                failures.push(format!("seed {seed}, {view:?}, {}:\n{difference}{}", ran.status, ran.stderr()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn random_calls_harm_no_view() {
    const MOUNTS: &str = r#"
cd "$D" && mkdir src tree r && echo content > src/file && echo other > other || exit 98
vumount -t vufs / "$M" && vumount -t vufs src tree/sub && vumount -t vufs tree outer && vumount -t vufs other src/file &&
vumount -t vufusenull none null && vumount -t vufusereal src real && vumount -t vudevnull none device || exit 99
"#;
    let program = helper("random_calls", Flavour::Static);
    for seed in SEEDS {
        let site = Site::new();
        fs::write(site.path().join("calls"), input(seed)).unwrap();
        let places =
            "\"$M$D/src\" \"$D/tree/sub\" \"$D/outer/sub\" \"$D/src/file\" \"$D/null\" \"$D/real\" \"$D/device\"";
        let script =
            format!("{MOUNTS}\"$1\" \"$D/r\" {places} < calls; status=$?; ls null && cat src/file && exit $status");
        let program = program.to_str().unwrap();
        let ran = site.umvu(&["--norc", "-m", "vufs,vufuse,vudev", "--", "sh", "-c", &script, "sh", program], b"");
        let stderr = ran.stderr();
        assert!(!stderr.contains("panicked"), "seed {seed}: {stderr}");
        assert!(ran.status.success(), "seed {seed}: {}\n{stderr}", ran.status);
        let output = ran.stdout();
        check_output(seed, output.strip_suffix("other\n").unwrap_or(&output));
    }
}
