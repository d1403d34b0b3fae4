//! Files as they come: every kind that is read, and every way to be broken.

use super::*;
use proptest::prelude::*;
use std::f32::consts::TAU;
use std::path::PathBuf;

/// Writes the bytes into a file of its own and reads them as speech.
fn read_bytes(bytes: &[u8]) -> Result<Vec<i16>, AudioError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.wav");
    std::fs::write(&path, bytes).unwrap();
    read_speech(&path)
}

fn refusal(bytes: &[u8]) -> String {
    let error = read_bytes(bytes).unwrap_err().to_string();
    let (_, rest) = error.split_once("in.wav` ").unwrap_or_else(|| panic!("the file is named: {error}"));
    rest.to_owned()
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    for (name, data) in chunks {
        body.extend_from_slice(*name);
        body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        body.extend_from_slice(data);
        if data.len() % 2 == 1 {
            body.push(0);
        }
    }
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&(body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}

fn fmt(tag: u16, channels: u16, rate: u32, bits: u16) -> (&'static [u8; 4], Vec<u8>) {
    let block = channels * bits.div_ceil(8);
    let mut data = Vec::new();
    data.extend_from_slice(&tag.to_le_bytes());
    data.extend_from_slice(&channels.to_le_bytes());
    data.extend_from_slice(&rate.to_le_bytes());
    data.extend_from_slice(&(rate * u32::from(block)).to_le_bytes());
    data.extend_from_slice(&block.to_le_bytes());
    data.extend_from_slice(&bits.to_le_bytes());
    (b"fmt ", data)
}

/// A quarter second of a tone in any format, by the reference writer.
fn tone(spec: hound::WavSpec) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for i in 0..spec.sample_rate / 4 {
        let value = (TAU * 440.0 * i as f32 / spec.sample_rate as f32).sin() * 0.5;
        for _ in 0..spec.channels {
            match spec.sample_format {
                hound::SampleFormat::Float => writer.write_sample(value).unwrap(),
                hound::SampleFormat::Int => {
                    let full = (1_i64 << (spec.bits_per_sample - 1)) as f32;
                    writer.write_sample((value * (full - 1.0)) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

#[test]
fn every_kind_of_pcm_becomes_the_same_speech() {
    let formats = [
        (8, hound::SampleFormat::Int),
        (16, hound::SampleFormat::Int),
        (24, hound::SampleFormat::Int),
        (32, hound::SampleFormat::Int),
        (32, hound::SampleFormat::Float),
    ];
    for (bits_per_sample, sample_format) in formats {
        for channels in [1, 2, 6] {
            for sample_rate in [8_000, 16_000, 22_050, 44_100, 48_000, 192_000] {
                let spec = hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format };
                let speech = read_bytes(&tone(spec)).unwrap_or_else(|e| panic!("{spec:?}: {e}"));
                assert_eq!(speech.len(), 4_000, "{spec:?}: a quarter second stays one");
                // 8 bits have steps of 1/128, and the writer above rounds towards zero; a
                // resampler with blocks of odd length is off by half a sample of the input.
                let steps = if bits_per_sample == 8 { 600.0 } else { 200.0 };
                let allowed = steps + 16_384.0 * TAU * 440.0 * 0.5 / sample_rate as f32;
                for (i, sample) in speech.iter().enumerate().skip(400).take(3_200) {
                    let expected = (TAU * 440.0 * i as f32 / 16_000.0).sin() * 16_384.0;
                    let off = (f32::from(*sample) - expected).abs();
                    assert!(off < allowed, "{spec:?}, sample {i}: off by {off}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_is_read_back_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("round.wav");
    let samples: Vec<i16> = (i16::MIN..=i16::MAX).step_by(7).collect();
    write(&path, &samples, 16_000).unwrap();
    assert_eq!(read_speech(&path).unwrap(), samples);
    let mut reader = hound::WavReader::open(&path).unwrap();
    let by_reference: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    assert_eq!(by_reference, samples, "another program reads the same");
}

#[test]
fn what_is_no_wav_is_named() {
    assert_eq!(refusal(b""), "is not a WAV file: it is empty");
    assert_eq!(refusal(b"RIFF"), "is not a WAV file: it ends within its first 12 bytes");
    assert_eq!(refusal(b"ID3\x04 an mp3 file"), "is not a WAV file: it begins with `ID3\\x04` instead of `RIFF`");
    assert_eq!(refusal(&[0xff; 100]), "is not a WAV file: it begins with `\\xff\\xff\\xff\\xff` instead of `RIFF`");
    assert!(refusal(b"RF64\xff\xff\xff\xffWAVE").contains("RIFF variant"));
    assert_eq!(refusal(&riff(&[])), "is not a WAV file: it has no description of its format (`fmt `)");
    assert_eq!(refusal(&riff(&[fmt(1, 1, 16_000, 16)])), "is not a WAV file: it has no sound (`data`)");
    assert_eq!(refusal(&riff(&[(b"data", vec![0; 100])])), "is not a WAV file: its sound comes before its format");
}

#[test]
fn an_empty_recording_is_named() {
    assert_eq!(refusal(&riff(&[fmt(1, 1, 16_000, 16), (b"data", vec![])])), "holds no sound");
    assert_eq!(refusal(&riff(&[fmt(1, 2, 16_000, 16), (b"data", vec![1, 2])])), "holds no sound");
}

#[test]
fn a_truncated_recording_is_refused_with_both_lengths() {
    let mut file = riff(&[fmt(1, 1, 16_000, 16), (b"data", vec![7; 32_000])]);
    file.truncate(file.len() - 1_000);
    assert_eq!(refusal(&file), "is cut off: its header announces 32000 bytes of sound, 31000 are there");
    file.truncate(30);
    assert_eq!(refusal(&file), "is not a WAV file: the description of its format is cut off");
}

#[test]
fn a_recording_from_a_pipe_has_no_length_and_is_read() {
    let mut file = riff(&[fmt(1, 1, 16_000, 16), (b"data", vec![7; 3_200])]);
    file[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read_bytes(&file).unwrap().len(), 1_600);
}

#[test]
fn a_recording_that_is_too_long_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let n_bytes = 10 * 60 * 44_100 * 4_u32;
    let mut header = riff(&[fmt(1, 2, 44_100, 16), (b"data", vec![])]);
    header[40..44].copy_from_slice(&n_bytes.to_le_bytes());
    std::fs::write(&path, &header).unwrap();
    // A sparse file: ten minutes long, nothing on the disk.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(44 + u64::from(n_bytes)).unwrap();
    let error = read_speech(&path).unwrap_err();
    assert_eq!(error.code(), loqa_protocol::ErrorCode::AudioTooLong);
    assert!(error.to_string().ends_with("is 600.0 s long, at most 30 s are taken"), "{error}");

    let limit = riff(&[fmt(1, 1, 8_000, 8), (b"data", vec![128; 240_000])]);
    assert_eq!(read_bytes(&limit).unwrap().len(), 480_000, "30 s are taken");
    let beyond = riff(&[fmt(1, 1, 8_000, 8), (b"data", vec![128; 240_001])]);
    assert!(matches!(read_bytes(&beyond), Err(AudioError::AudioTooLong { .. })), "and not a sample more");
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let cases = [
        (fmt(6, 1, 8_000, 8), "A-law"),
        (fmt(7, 1, 8_000, 8), "µ-law"),
        (fmt(1, 1, 16_000, 12), "PCM of 12 bits"),
        (fmt(3, 1, 16_000, 64), "64-bit float"),
        (fmt(0x55, 1, 16_000, 16), "MP3"),
        (fmt(0x1234, 1, 16_000, 16), "format 0x1234"),
        (fmt(1, 0, 16_000, 16), "0 channels"),
        (fmt(1, 33, 16_000, 16), "33 channels"),
        (fmt(1, 1, 4_000, 16), "4000 Hz"),
        (fmt(1, 1, 384_000, 16), "384000 Hz"),
    ];
    for (format, expected) in cases {
        let text = refusal(&riff(&[format, (b"data", vec![0; 1_000])]));
        assert!(text.contains(expected) && text.contains("give PCM"), "{expected}: {text}");
    }
}

#[test]
fn chunks_of_no_interest_are_passed_over() {
    let file = riff(&[
        (b"LIST", b"odd".to_vec()),
        fmt(1, 1, 16_000, 16),
        (b"fact", vec![1, 2, 3, 4]),
        (b"data", vec![7; 640]),
        (b"id3 ", vec![9; 33]),
    ]);
    assert_eq!(read_bytes(&file).unwrap().len(), 320, "what follows the sound is no sound");
}

#[test]
fn float_samples_that_are_no_numbers_are_silence() {
    let mut data = Vec::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7.0, -7.0, 0.25] {
        data.extend_from_slice(&value.to_le_bytes());
    }
    let file = riff(&[fmt(3, 1, 16_000, 32), (b"data", data)]);
    assert_eq!(read_bytes(&file).unwrap(), [0, 0, 0, i16::MAX, i16::MIN, 8_192]);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    for path in [PathBuf::from("/no/such/file.wav"), std::env::temp_dir()] {
        let error = read_speech(&path).unwrap_err();
        assert!(matches!(error, AudioError::Read { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn no_damage_makes_the_reader_panic(
        at in 0_usize..60, byte: u8, cut in 0_usize..200, junk in prop::collection::vec(any::<u8>(), 0..100)
    ) {
        let mut file = riff(&[fmt(1, 2, 44_100, 16), (b"data", vec![7; 100])]);
        if let Some(target) = file.get_mut(at) {
            *target = byte;
        }
        file.truncate(file.len().saturating_sub(cut));
        let _ = read_bytes(&file);
        let _ = read_bytes(&junk);
        file.truncate(12);
        file.extend(junk);
        let _ = read_bytes(&file);
    }
}
