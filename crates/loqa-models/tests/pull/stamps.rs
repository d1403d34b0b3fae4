//! Digests that are not taken again, and those that are.

use super::*;
use loqa_protocol::engine::EngineKind;
use std::fs::{File, FileTimes};
use std::time::SystemTime;

/// Sets the time of a file's last change into the past. Its other time, which no program
/// can set, is that of this call.
fn age(path: &Path) {
    let past = SystemTime::now() - Duration::from_secs(3_600);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(past)).unwrap();
}

#[test]
fn a_changed_file_is_read_again_and_refused_whatever_its_times_say() {
    let bytes = model_bytes(4_096, 70);
    let home = Home::new(bytes.clone(), &[]);
    std::fs::create_dir_all(home.place().parent().unwrap()).unwrap();
    std::fs::write(home.place(), &bytes).unwrap();
    let verified = || home.catalog.verified("m", EngineKind::Llm);
    let stamps = || home.catalog.stamps().unwrap();
    let file = &home.catalog.models[0].files[0];
    verified().unwrap();
    assert!(!stamps().holds(&home.place(), file), "a file that changed a moment ago is not trusted yet");
    // Until the file is old enough to be trusted: the same check again, with patience.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !stamps().holds(&home.place(), file) {
        assert!(std::time::Instant::now() < until, "an old file gets a stamp");
        std::thread::sleep(Duration::from_millis(250));
        verified().unwrap();
    }
    verified().unwrap();

    // The same size and the same time of change, other bytes.
    let before = std::fs::metadata(home.place()).unwrap().modified().unwrap();
    let mut other = bytes.clone();
    other[100] ^= 1;
    std::fs::write(home.place(), &other).unwrap();
    File::options().write(true).open(home.place()).unwrap().set_times(FileTimes::new().set_modified(before)).unwrap();
    assert!(format!("{:#}", verified().unwrap_err()).contains("is not the expected file"));
    std::fs::write(home.place(), &bytes).unwrap();
    age(&home.place());
    verified().unwrap();

    // A stamp that somebody wrote is believed at a start, for whoever writes there could
    // write the model too; but neither by `verify` nor by a pull, which read all bytes.
    let text = serde_json::json!({ "not": "a stamp" }).to_string();
    std::fs::write(home.folder.path().join("data/models/.digests.json"), text).unwrap();
    verified().unwrap();
    std::fs::write(home.place(), &other).unwrap();
    assert!(home.catalog.verify(home.catalog.find("m", None).unwrap()).is_err());
}
