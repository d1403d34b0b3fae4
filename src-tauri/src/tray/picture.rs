//! The picture of a state, drawn from distances: a ring, and in it a shape for each state, so
//! that colour carries nothing. White with a dark rim shows on light and dark panels.
//!
//! Deliberately absent: files. The icon of the app itself is in `icons/`.

use loqa_talk::TalkPhase;

/// Width and height in pixels. Chosen: twice the usual panel, which scales it down.
pub const SIZE: u32 = 44;
/// Samples per pixel and axis, for smooth edges. Chosen.
const GRAIN: u32 = 4;
/// Width of the dark rim around the white, in units of half the picture. Chosen.
const RIM: f32 = 0.09;

/// The picture as RGBA, row by row.
#[must_use]
pub fn draw(phase: TalkPhase) -> Vec<u8> {
    let mut pixels = Vec::with_capacity((SIZE * SIZE * 4) as usize);
    let samples = GRAIN * GRAIN;
    for y in 0..SIZE {
        for x in 0..SIZE {
            let (mut white, mut rim) = (0, 0);
            for sample in 0..samples {
                let at =
                    |pixel: u32, grain: u32| ((pixel * GRAIN + grain) as f32 + 0.5) / (SIZE * GRAIN) as f32 * 2.0 - 1.0;
                let distance = shape(phase, at(x, sample % GRAIN), at(y, sample / GRAIN));
                if distance <= 0.0 {
                    white += 1;
                } else if distance <= RIM {
                    rim += 1;
                }
            }
            let covered = white + rim;
            let grey = (white * 255 + rim * 40_u32).checked_div(covered).unwrap_or(0);
            let grey = u8::try_from(grey).unwrap_or(255);
            pixels.extend([grey, grey, grey, u8::try_from(covered * 255 / samples).unwrap_or(255)]);
        }
    }
    pixels
}

/// Distance to the shape of a state; negative inside. The picture goes from -1 to 1.
fn shape(phase: TalkPhase, x: f32, y: f32) -> f32 {
    let around = x.hypot(y);
    let ring = (around - 0.76).abs() - 0.08;
    match phase {
        // A microphone: a capsule on a stem.
        TalkPhase::Idle => ring.min(capsule(x, y + 0.12, 0.17, 0.2)).min(bar(x, y - 0.42, 0.06, 0.1)),
        // A full disc: sound goes in.
        TalkPhase::Listening => around - 0.84,
        // Three dots.
        TalkPhase::Thinking => {
            let dots = [-0.36, 0.0, 0.36].into_iter().map(|at| (x - at).hypot(y) - 0.13);
            dots.fold(ring, f32::min)
        }
        // Three bars of different heights.
        TalkPhase::Speaking => {
            let bars =
                [(-0.34, 0.2), (0.0, 0.42), (0.34, 0.2)].into_iter().map(|(at, high)| bar(x - at, y, 0.09, high));
            bars.fold(ring, f32::min)
        }
        // The microphone with a stroke through it.
        TalkPhase::Muted => {
            let stroke =
                bar((x - y) * std::f32::consts::FRAC_1_SQRT_2, (x + y) * std::f32::consts::FRAC_1_SQRT_2, 0.08, 0.8);
            let gap = stroke - 0.12;
            let rest = ring.min(capsule(x, y + 0.12, 0.17, 0.2)).min(bar(x, y - 0.42, 0.06, 0.1));
            stroke.min(rest.max(-gap))
        }
        // A ring of dashes with nothing in it.
        TalkPhase::Offline => {
            let turn = y.atan2(x) / std::f32::consts::TAU * 6.0;
            let off = (turn - turn.round()).abs() - 0.3;
            ring.max(off * 0.8)
        }
    }
}

fn bar(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    (x.abs() - half_width).max(y.abs() - half_height)
}

fn capsule(x: f32, y: f32, radius: f32, half_length: f32) -> f32 {
    x.hypot((y.abs() - half_length).max(0.0)) - radius
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TalkPhase; 6] = [
        TalkPhase::Offline,
        TalkPhase::Muted,
        TalkPhase::Idle,
        TalkPhase::Listening,
        TalkPhase::Thinking,
        TalkPhase::Speaking,
    ];

    /// Which of 22×22 points are clearly white: what a panel shows of it.
    fn seen(phase: TalkPhase) -> Vec<bool> {
        let pixels = draw(phase);
        assert_eq!(pixels.len(), (SIZE * SIZE * 4) as usize);
        let is_white = |x: u32, y: u32| {
            let at = ((y * SIZE + x) * 4) as usize;
            pixels[at] > 200 && pixels[at + 3] > 200
        };
        (0..22).flat_map(|y| (0..22).map(move |x| (x * 2, y * 2))).map(|(x, y)| is_white(x, y)).collect()
    }

    #[test]
    fn every_state_has_a_shape_of_its_own() {
        for (idx, one) in ALL.into_iter().enumerate() {
            assert!(seen(one).into_iter().filter(|white| *white).count() > 20, "{one:?} is seen");
            for other in ALL.into_iter().skip(idx + 1) {
                let differs = seen(one).into_iter().zip(seen(other)).filter(|(a, b)| a != b).count();
                // A tenth of the ring's inside: to be told apart without colour.
                assert!(differs >= 18, "{one:?} and {other:?} differ in {differs} of 484 points");
            }
        }
        // For a person to look at.
        if let Some(folder) = std::env::var_os("LOQA_TEST_PICTURES") {
            std::fs::write(std::path::Path::new(&folder).join("tray.pgm"), side_by_side()).unwrap();
        }
    }

    /// All of them on grey, as PGM.
    fn side_by_side() -> Vec<u8> {
        let width = SIZE as usize * ALL.len();
        let mut grey = vec![128u8; width * SIZE as usize];
        for (idx, phase) in ALL.into_iter().enumerate() {
            for (at, pixel) in draw(phase).chunks(4).enumerate() {
                let (x, y) = (at % SIZE as usize, at / SIZE as usize);
                let alpha = u32::from(pixel[3]);
                let mixed = (u32::from(pixel[0]) * alpha + 128 * (255 - alpha)) / 255;
                grey[y * width + idx * SIZE as usize + x] = u8::try_from(mixed).unwrap();
            }
        }
        let mut file = format!("P5 {width} {SIZE} 255\n").into_bytes();
        file.extend(grey);
        file
    }
}
