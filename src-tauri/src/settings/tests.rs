//! The file of settings: what is kept, what is put aside, and what damage does.

use super::*;
use proptest::prelude::*;

fn text_of(data: &Path) -> String {
    std::fs::read_to_string(data.join(FILE_NAME)).unwrap()
}

#[test]
fn what_is_chosen_is_there_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let file = SettingsFile::open(data.path());
    assert_eq!(file.get(), Settings::default());
    assert!(!data.path().join(FILE_NAME).exists(), "looking writes nothing");
    file.change(|settings| {
        settings.hotkey = None;
        settings.microphone = Some("alsa:mic".into());
        settings.preferences.insert("theme".into(), "dark".into());
        settings.first_run_done = true;
    })
    .unwrap();
    let again = SettingsFile::open(data.path());
    assert_eq!(again.get(), file.get());
    assert_eq!(again.get().hotkey, None, "switched off stays switched off");
    assert_eq!(again.problem(), None);
    assert!(!data.path().join("desktop.json.next").exists());
}

#[test]
fn what_another_version_keeps_stays() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(FILE_NAME), r#"{"overlay": {"place": "top"}, "first_run_done": true}"#).unwrap();
    let file = SettingsFile::open(data.path());
    assert_eq!(file.get().hotkey.as_deref(), Some(DEFAULT_HOTKEY), "a key that is missing has its default");
    file.change(|settings| settings.speaker = Some("x".into())).unwrap();
    let kept: Value = serde_json::from_str(&text_of(data.path())).unwrap();
    assert_eq!(kept["overlay"]["place"], "top");
    assert_eq!(kept["speaker"], "x");
}

#[test]
fn a_broken_file_is_put_aside_and_said() {
    for broken in [r#"{"first_run_done": tru"#, r#"{"first_run_done": 7}"#, "[]", "", "\u{0}"] {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FILE_NAME), broken).unwrap();
        let file = SettingsFile::open(data.path());
        assert_eq!(file.get(), Settings::default(), "{broken:?}");
        let problem = file.problem().unwrap();
        assert!(problem.contains("desktop.json.broken"), "{problem}");
        assert_eq!(std::fs::read_to_string(data.path().join("desktop.json.broken")).unwrap(), broken);
        file.change(|settings| settings.first_run_done = true).unwrap();
        assert!(SettingsFile::open(data.path()).get().first_run_done, "and the app goes on");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_a_refusal_that_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    // A file where the folder should be: nobody can write there, not even root.
    let blocked = data.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let file = SettingsFile::open(&blocked);
    let refusal = file.change(|settings| settings.first_run_done = true).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::StorageFault);
    assert!(refusal.message.contains("free some space"), "{}", refusal.message);
    assert!(!file.get().first_run_done);
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    SettingsFile::open(data.path()).change(|settings| settings.first_run_done = true).unwrap();
    let mode = std::fs::metadata(data.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the disk gives back: the app starts, and what was there is not lost.
    #[test]
    fn a_damaged_file_never_stops_the_app(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let data = tempfile::tempdir().unwrap();
        let whole = SettingsFile::open(data.path());
        whole.change(|settings| {
            settings.first_run_done = true;
            settings.preferences.insert("language".into(), "de".into());
        }).unwrap();
        let mut bytes = std::fs::read(data.path().join(FILE_NAME)).unwrap();
        for (place, byte) in damage {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        std::fs::write(data.path().join(FILE_NAME), &bytes).unwrap();
        let opened = SettingsFile::open(data.path());
        if opened.problem().is_some() {
            prop_assert_eq!(std::fs::read(data.path().join("desktop.json.broken")).unwrap(), bytes);
            prop_assert_eq!(opened.get(), Settings::default());
        }
        opened.change(|settings| settings.speaker = Some("s".into())).unwrap();
        prop_assert_eq!(SettingsFile::open(data.path()).get(), opened.get());
    }
}

#[test]
fn answers_are_spoken_unless_the_person_says_otherwise() {
    let with = |speak: Value| {
        let mut settings = Settings::default();
        settings.preferences.insert("speak".into(), speak);
        settings.speaks_answers()
    };
    assert!(Settings::default().speaks_answers());
    assert!(with(true.into()) && with("no".into()), "what is no yes or no is not a no");
    assert!(!with(false.into()));
}
