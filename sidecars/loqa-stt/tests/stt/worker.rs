//! One utterance after the other, through a worker.

use crate::clips::{self, Clip, clip, request, starter_model, worker, worker_with};
use loqa_engine::{AudioInput, CancelFlag, EngineBoot};
use loqa_protocol::stt::{SttFinal, SttReply, SttRequest};
use loqa_protocol::{ErrorCode, Failure, InstanceId};
use loqa_stt::settings::Settings;
use loqa_stt::worker::SttWorker;
use serde_json::{Map, json};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends all frames and the end at once, then transcribes.
fn transcribe(worker: &mut SttWorker, frames: &[(Vec<i16>, bool)]) -> Result<(SttFinal, Vec<String>), Failure> {
    let (sender, audio) = channel();
    send(&sender, frames);
    sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    collect(worker, &request(true), &audio, &CancelFlag::new())
}

fn send(sender: &Sender<AudioInput>, frames: &[(Vec<i16>, bool)]) {
    for (samples, voiced) in frames {
        sender.send(AudioInput::Frame { samples: samples.clone(), voiced: *voiced }).unwrap();
    }
}

fn collect(
    worker: &mut SttWorker,
    request: &SttRequest,
    audio: &Receiver<AudioInput>,
    cancel: &CancelFlag,
) -> Result<(SttFinal, Vec<String>), Failure> {
    let mut last = None;
    let mut partials = Vec::new();
    worker.transcribe(request, audio, cancel, &mut |reply| match reply {
        SttReply::Partial { text, .. } => partials.push(text.clone()),
        SttReply::Final(reply) => assert!(last.replace(reply.clone()).is_none(), "one final reply"),
        SttReply::Accepted { .. } | SttReply::Failed { .. } => panic!("the runtime's to send: {reply:?}"),
    })?;
    Ok((last.expect("a final reply"), partials))
}

fn frames(samples: &[i16], voiced: bool) -> Vec<(Vec<i16>, bool)> {
    samples.chunks(320).map(|frame| (frame.to_vec(), voiced)).collect()
}

/// Nearly half a minute of speech: a pass over it takes about a second.
fn long_speech() -> Vec<(Vec<i16>, bool)> {
    let samples = clip("timer").samples;
    frames(&samples.repeat(29 * 16_000 / samples.len()), true)
}

fn white_noise(seconds: usize, amplitude: f64) -> Vec<i16> {
    let mut random = 1_u32;
    (0..seconds * 16_000)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((f64::from(random >> 8) / f64::from(1 << 23) - 1.0) * amplitude) as i16
        })
        .collect()
}

#[test]
fn bundled_clips_are_understood_word_for_word() {
    let mut worker = worker(&starter_model());
    for clip in clips::clips() {
        let (last, _) = transcribe(&mut worker, &clip.frames()).unwrap();
        assert_eq!(last.text, clip.text, "{}", clip.name);
        assert!(last.confidence > 0.7 && last.confidence <= 1.0, "{}: {}", clip.name, last.confidence);
        assert_eq!(last.audio_ms, clip.samples.len() as u64 / 16);
        assert!(last.decode_us > 0, "a pass took some time");
    }
}

#[test]
fn a_key_released_with_the_last_sound_loses_no_word() {
    let mut worker = worker(&starter_model());
    for clip in clips::clips() {
        let (last, _) = transcribe(&mut worker, &clip.cut_after_speech().frames()).unwrap();
        assert_eq!(last.text, clip.text, "{}", clip.name);
        assert!(!last.speculative, "there was no pause to bet on");
    }
}

#[test]
fn a_long_wait_before_the_first_word_changes_nothing() {
    let mut worker = worker(&starter_model());
    let clip = clip("timer");
    let quiet: Vec<i16> = white_noise(6, 20.0);
    let (last, _) = transcribe(&mut worker, &[frames(&quiet, false), clip.frames()].concat()).unwrap();
    assert_eq!(last.text, clip.text);
    assert_eq!(last.audio_ms, 6_000 + clip.samples.len() as u64 / 16, "all of it counts as audio");
}

#[test]
fn silence_and_noise_give_an_empty_text() {
    let mut worker = worker(&starter_model());
    let hum: Vec<i16> = (0..32_000).map(|n| ((n as f64 * 0.02).sin() * 3_000.0) as i16).collect();
    let sounds = [
        ("digital silence", vec![0; 32_000]),
        ("a quiet room", white_noise(2, 30.0)),
        ("loud noise", white_noise(2, 6_000.0)),
        ("hum", hum),
        ("a burst", white_noise(1, 20_000.0)[..4_000].to_vec()),
    ];
    for (name, samples) in sounds {
        for voiced in [false, true] {
            let (last, partials) = transcribe(&mut worker, &frames(&samples, voiced)).unwrap();
            assert_eq!((last.text.as_str(), last.confidence), ("", 0.0), "{name}, voiced: {voiced}");
            assert_eq!(partials, Vec::<String>::new(), "{name}, voiced: {voiced}");
        }
    }
}

#[test]
fn hardly_any_audio_gives_an_empty_text() {
    let mut worker = worker(&starter_model());
    for n_samples in [0, 1, 199, 200, 201, 320, 1_599, 1_600, 1_700] {
        let samples = &clip("timer").samples[4_000..4_000 + n_samples];
        let (last, _) = transcribe(&mut worker, &frames(samples, true)).unwrap();
        assert_eq!(last.audio_ms, n_samples as u64 / 16);
        assert!(n_samples >= 1_600 || last.text.is_empty(), "{n_samples} samples: {}", last.text);
    }
}

#[test]
fn a_transcript_begun_in_the_pause_is_the_final_one() {
    let mut worker = worker(&starter_model());
    let clip = clip("timer");
    let (sender, audio) = channel();
    let (heard, hears) = channel();
    let frames = clip.frames();
    let feeder = std::thread::spawn(move || {
        send(&sender, &frames);
        hears.recv_timeout(PATIENCE).expect("the pass of the pause shows its text");
        sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    });
    let mut last = None;
    worker
        .transcribe(&request(true), &audio, &CancelFlag::new(), &mut |reply| match reply {
            SttReply::Partial { text, .. } if *text == clip.text => {
                // Only the first one is waited for.
                let _ = heard.send(());
            }
            SttReply::Final(reply) => last = Some(reply.clone()),
            _ => {}
        })
        .unwrap();
    feeder.join().unwrap();
    let last = last.unwrap();
    assert_eq!((last.text.as_str(), last.speculative), (clip.text.as_str(), true));
    // Takes microseconds; a decoding pass takes tens of milliseconds.
    assert!(last.tail_us < last.decode_us, "nothing was decoded after the end: {last:?}");
}

#[test]
fn speech_after_the_pause_is_not_lost() {
    let mut worker = worker(&starter_model());
    let clip = clip("timer");
    let (sender, audio) = channel();
    let (heard, hears) = channel();
    let whole = clip.frames();
    // The clip begins with a pause: the voice breaks off in the middle of the first word.
    let (first, second) = whole.split_at(60);
    let (first, second) = (first.to_vec(), second.to_vec());
    let feeder = std::thread::spawn(move || {
        send(&sender, &first);
        // A detector that missed a few frames: the bet begins in the middle of the speech.
        send(&sender, &second[..4].iter().map(|(samples, _)| (samples.clone(), false)).collect::<Vec<_>>());
        hears.recv_timeout(PATIENCE).expect("the pass of the supposed pause shows its text");
        send(&sender, &second[4..]);
        sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    });
    let mut last = None;
    worker
        .transcribe(&request(true), &audio, &CancelFlag::new(), &mut |reply| match reply {
            SttReply::Partial { .. } => {
                let _ = heard.send(());
            }
            SttReply::Final(reply) => last = Some(reply.clone()),
            _ => {}
        })
        .unwrap();
    feeder.join().unwrap();
    assert_eq!(last.unwrap().text, clip.text);
}

#[test]
fn partial_transcripts_come_while_the_user_speaks() {
    let mut worker = worker(&starter_model());
    let Clip { text, samples, .. } = clip("pasta_timer");
    let (sender, audio) = channel();
    let (heard, hears) = channel();
    let feeder = std::thread::spawn(move || {
        // Always voiced: no pause, so that what comes before the end is a partial one.
        let all = frames(&samples, true);
        send(&sender, &all[..75]);
        hears.recv_timeout(PATIENCE).expect("a partial transcript of the first 1.5 s");
        send(&sender, &all[75..]);
        sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    });
    let mut covered = Vec::new();
    let mut last = None;
    worker
        .transcribe(&request(true), &audio, &CancelFlag::new(), &mut |reply| match reply {
            SttReply::Partial { text, audio_ms } => {
                assert!(!text.is_empty());
                covered.push(*audio_ms);
                let _ = heard.send(());
            }
            SttReply::Final(reply) => last = Some(reply.clone()),
            _ => {}
        })
        .unwrap();
    feeder.join().unwrap();
    assert_eq!(last.unwrap().text, text);
    assert!(covered[0] <= 1_500 && covered.is_sorted(), "{covered:?}");
}

#[test]
fn no_partial_transcripts_unless_asked_for() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    send(&sender, &clip("timer").frames());
    sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    let (last, partials) = collect(&mut worker, &request(false), &audio, &CancelFlag::new()).unwrap();
    assert_eq!((last.text.as_str(), partials.len()), ("Set a timer for 5 minutes.", 0));
}

#[test]
fn cancel_ends_a_running_pass_and_the_worker_goes_on() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    send(&sender, &long_speech());
    sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    let cancel = CancelFlag::new();
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            cancel.cancel();
            Instant::now()
        })
    };
    let failure = collect(&mut worker, &request(false), &audio, &cancel).unwrap_err();
    let returned = Instant::now();
    assert_eq!(failure.code, ErrorCode::Cancelled);
    let waited = returned.duration_since(canceller.join().unwrap());
    // The promise is 50 ms.
    assert!(waited < Duration::from_millis(500), "cancel took {waited:?}");

    let clip = clip("timer");
    let (last, _) = transcribe(&mut worker, &clip.frames()).unwrap();
    assert_eq!(last.text, clip.text, "the stopped pass left nothing behind");
}

#[test]
fn a_hub_that_hangs_up_ends_the_work() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    send(&sender, &clip("timer").frames());
    drop(sender);
    let failure = collect(&mut worker, &request(true), &audio, &CancelFlag::new()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::Cancelled);
}

#[test]
fn a_pass_past_its_deadline_is_given_up() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    send(&sender, &long_speech());
    sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    let request = SttRequest { deadline_ms: 20, ..request(false) };
    let failure = collect(&mut worker, &request, &audio, &CancelFlag::new()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
}

#[test]
fn more_than_thirty_seconds_are_refused_while_they_arrive() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    let second = vec![0; 16_000];
    send(&sender, &frames(&second.repeat(30), false));
    send(&sender, &frames(&second[..4_000], false));
    sender.send(AudioInput::Frame { samples: vec![0], voiced: false }).unwrap();
    let failure = collect(&mut worker, &request(false), &audio, &CancelFlag::new()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::AudioTooLong);
    assert!(failure.message.contains("30 s"), "{}", failure.message);
}

#[test]
fn exactly_thirty_seconds_are_taken() {
    let mut worker = worker(&starter_model());
    let speech = long_speech();
    let missing = 30 * 16_000 - speech.iter().map(|(samples, _)| samples.len()).sum::<usize>();
    let (last, _) = transcribe(&mut worker, &[speech, frames(&vec![0; missing], false)].concat()).unwrap();
    assert_eq!(last.audio_ms, 30_000);
}

#[test]
fn an_unknown_language_is_named_with_the_known_ones() {
    let mut worker = worker(&starter_model());
    let (_sender, audio) = channel();
    let request = SttRequest { language: Some("de-AT".to_owned()), ..request(false) };
    let failure = collect(&mut worker, &request, &audio, &CancelFlag::new()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::BadRequest);
    assert!(failure.message.contains("de-AT") && failure.message.ends_with("en"), "{}", failure.message);
}

#[test]
fn regional_english_and_no_language_are_taken() {
    let mut worker = worker(&starter_model());
    for language in [Some("en-GB".to_owned()), Some("EN_us".to_owned()), None] {
        let (sender, audio) = channel();
        send(&sender, &clip("timer").frames());
        sender.send(AudioInput::End { received: Instant::now() }).unwrap();
        let request = SttRequest { language, hint: "pasta, egg".to_owned(), ..request(false) };
        let (last, _) = collect(&mut worker, &request, &audio, &CancelFlag::new()).unwrap();
        assert_eq!(last.text, "Set a timer for 5 minutes.");
    }
}

#[test]
fn two_workers_share_one_model_at_the_same_time() {
    let model = clips::model();
    let settings = Settings::read(&Map::new(), &model.header, 2).unwrap();
    let threads: Vec<_> = ["timer", "living_room"]
        .into_iter()
        .map(|name| {
            let mut worker = SttWorker::new(model.clone(), settings).unwrap();
            std::thread::spawn(move || {
                let clip = clip(name);
                for _ in 0..5 {
                    let (last, _) = transcribe(&mut worker, &clip.frames()).unwrap();
                    assert_eq!(last.text, clip.text);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn leaving_waits_a_moment_only_for_a_running_pass() {
    let mut worker = worker(&starter_model());
    let (sender, audio) = channel();
    send(&sender, &long_speech());
    sender.send(AudioInput::End { received: Instant::now() }).unwrap();
    let request = SttRequest { deadline_ms: 20, ..request(false) };
    collect(&mut worker, &request, &audio, &CancelFlag::new()).unwrap_err();
    let began = Instant::now();
    drop(worker);
    // It waits 300 ms; the pass goes on for a second or more.
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
}

#[test]
fn settings_out_of_range_are_named() {
    let header = clips::model().header.clone();
    for (key, value) in
        [("threads", json!(0)), ("workers", json!("two")), ("pause_ms", json!(-1)), ("audio_ctx_floor", json!(1_501))]
    {
        let settings = Map::from_iter([(key.to_owned(), value)]);
        let failure = Settings::read(&settings, &header, 2).unwrap_err();
        assert_eq!(failure.code, ErrorCode::BadRequest);
        assert!(failure.message.contains(key) && failure.message.contains("from"), "{}", failure.message);
    }
    let foreign = Map::from_iter([("voices_dir".to_owned(), json!("/voices"))]);
    assert_eq!(Settings::read(&foreign, &header, 2).unwrap().threads, 1, "one thread is best for the starter model");
}

#[test]
fn more_threads_give_the_same_transcript() {
    let settings = Map::from_iter([("threads".to_owned(), json!(2))]);
    let mut worker = worker_with(&starter_model(), &settings);
    let clip = clip("timer");
    assert_eq!(transcribe(&mut worker, &clip.frames()).unwrap().0.text, clip.text);
}

#[test]
fn loading_announces_what_the_file_says_and_what_was_measured() {
    let loaded = loqa_stt::load(&boot(starter_model().to_str().unwrap())).unwrap();
    assert_eq!(loaded.workers.len(), 2);
    let [capability] = loaded.capabilities.as_slice() else { panic!("one capability") };
    assert_eq!((capability.name.as_str(), capability.quantisation.as_str()), ("stt.whisper", "q8_0"));
    assert_eq!((capability.languages.as_slice(), capability.sample_rate), (["en".to_owned()].as_slice(), Some(16_000)));
    assert!(capability.measured_speed > 1.0, "slower than speech: {}", capability.measured_speed);
}

#[test]
fn loading_something_else_fails_as_model_invalid() {
    let failure = loqa_stt::load(&boot("/nowhere/ggml.bin")).err().expect("there is no such file");
    assert_eq!(failure.code, ErrorCode::ModelInvalid);
}

fn boot(model_path: &str) -> EngineBoot {
    EngineBoot {
        url: String::new(),
        identity: String::new(),
        seed: String::new(),
        instance: InstanceId::from_bits(1),
        capability: "stt.whisper".to_owned(),
        model: "starter".to_owned(),
        model_path: model_path.to_owned(),
        settings: Map::new(),
    }
}
