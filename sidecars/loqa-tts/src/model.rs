//! A Kokoro-shaped model in ONNX Runtime: token ids, a style vector and a speed in, a
//! waveform out. Names and types are read from the file, because the exports differ
//! (`input_ids` or `tokens`, `waveform` or `audio`, speed as f32 or i32). A model with
//! another shape is refused with a list of what it has.

use crate::error::TtsError;
use crate::onnx::{self, Header};
use ort::environment::Environment;
use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Kokoro's sample rate; a model whose metadata says otherwise is refused.
pub const SAMPLE_RATE: u32 = loqa_protocol::audio::OUTPUT_SAMPLE_RATE;

/// Models below this size run faster on one thread than on several: the work of one
/// operator is shorter than waking the others. Measured on the starter model.
const SMALL_MODEL_BYTES: u64 = 50_000_000;

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    session: Session,
    contract: Contract,
    header: Header,
}

/// Names and types of the model's tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Token ids, `[1, n]`.
    pub tokens: Input,
    /// Voice, `[1, width]`.
    pub style: Input,
    /// Speed, `[1]` or a scalar.
    pub speed: Input,
    /// Samples at [`SAMPLE_RATE`], of any rank.
    pub waveform: String,
    /// Numbers in one style vector.
    pub style_width: usize,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// Its element type.
    pub element: Element,
    /// Its number of dimensions.
    pub rank: usize,
}

/// The element types that Kokoro exports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
}

impl Model {
    /// Checks the file and loads it. `intra_threads` is the number of threads for one
    /// operator; `None` chooses by the size of the file.
    pub fn load(environment: &Environment, path: &Path, intra_threads: Option<usize>) -> Result<Self, TtsError> {
        let refuse = |reason: String| TtsError::Model { path: path.to_path_buf(), reason };
        let header = onnx::inspect(path)?;
        let threads = intra_threads.unwrap_or_else(|| default_threads(&header));
        let session = build_session(environment, path, threads).map_err(|error| refuse(error.to_string()))?;
        let contract = Contract::of(session.inputs(), session.outputs()).map_err(refuse)?;
        let rate = session.metadata().ok().and_then(|metadata| metadata.custom("sample_rate"));
        if let Some(rate) = rate.filter(|rate| rate.trim().parse() != Ok(SAMPLE_RATE)) {
            return Err(refuse(format!("its sample rate is {rate}, needed is {SAMPLE_RATE}")));
        }
        Ok(Self { session, contract, header })
    }

    /// Names and types of the tensors.
    #[must_use]
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// What the structure of the file says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Runs the model once. `ids` has the pads at both ends; `style` has
    /// [`Contract::style_width`] numbers. `options` can stop the run from another thread.
    pub fn run(&mut self, ids: &[i64], style: &[f32], speed: f32, options: &RunOptions) -> Result<Vec<f32>, TtsError> {
        let fault = |error: ort::Error| TtsError::Inference(error.to_string());
        let contract = &self.contract;
        let ids_i32: Vec<i32>;
        let tokens: SessionInputValue<'_> = match contract.tokens.element {
            Element::I32 => {
                // Ids are at most 177.
                ids_i32 = ids.iter().map(|id| *id as i32).collect();
                TensorRef::from_array_view(([1, ids_i32.len()], ids_i32.as_slice())).map_err(fault)?.into()
            }
            _ => TensorRef::from_array_view(([1, ids.len()], ids)).map_err(fault)?.into(),
        };
        let style = TensorRef::from_array_view(([1, style.len()], style)).map_err(fault)?;
        let (speed_f32, speed_i32, speed_i64) = ([speed], [speed.round() as i32], [speed.round() as i64]);
        let shape = vec![1_usize; contract.speed.rank];
        let speed: SessionInputValue<'_> = match contract.speed.element {
            Element::F32 => TensorRef::from_array_view((shape, speed_f32.as_slice())).map_err(fault)?.into(),
            Element::I32 => TensorRef::from_array_view((shape, speed_i32.as_slice())).map_err(fault)?.into(),
            Element::I64 => TensorRef::from_array_view((shape, speed_i64.as_slice())).map_err(fault)?.into(),
        };
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
            (Cow::from(contract.tokens.name.as_str()), tokens),
            (Cow::from(contract.style.name.as_str()), style.into()),
            (Cow::from(contract.speed.name.as_str()), speed),
        ];
        let outputs = self.session.run_with_options(inputs, options).map_err(fault)?;
        let waveform = outputs
            .get(&contract.waveform)
            .ok_or_else(|| TtsError::Inference(format!("no output `{}`", contract.waveform)))?;
        let (_, samples) = waveform.try_extract_tensor::<f32>().map_err(fault)?;
        Ok(samples.to_vec())
    }
}

fn default_threads(header: &Header) -> usize {
    if header.file_bytes < SMALL_MODEL_BYTES { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

fn build_session(environment: &Environment, path: &Path, threads: usize) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // Spinning threads would take the second core from recognition and the language model.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Each clause has another length; a plan per length would only pile up memory.
        .with_memory_pattern(false)?
        .commit_from_file(path)
}

impl Contract {
    fn of(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Self, String> {
        let refuse = || {
            let list = |outlets: &[Outlet]| {
                let texts = outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype()));
                texts.collect::<Vec<_>>().join(", ")
            };
            format!(
                "is not a Kokoro model; it takes [{}] and gives [{}]; needed are token ids (i64 or i32, [1, n]), \
                 a style (f32, [1, 256]) and a speed (f32 or an integer, [1]), and a waveform (f32)",
                list(inputs),
                list(outputs)
            )
        };
        if inputs.len() != 3 {
            return Err(refuse());
        }
        let tensors: Vec<Tensor<'_>> = inputs.iter().filter_map(Tensor::of).collect();
        // The roles by what only that role can be; names decide nothing.
        let tokens = tensors.iter().find(|t| t.element != Element::F32 && t.shape.len() == 2);
        let style = tensors.iter().find(|t| t.element == Element::F32 && t.shape.len() == 2);
        let speed = tensors.iter().find(|t| t.shape.len() < 2 && t.shape.iter().all(|d| *d == 1 || *d == -1));
        let waveform = outputs
            .iter()
            .find(|outlet| matches!(outlet.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, .. }));
        let (Some(tokens), Some(style), Some(speed), Some(waveform)) = (tokens, style, speed, waveform) else {
            return Err(refuse());
        };
        let style_width = match style.shape[1] {
            -1 => KOKORO_STYLE_WIDTH,
            width => usize::try_from(width).map_err(|_| refuse())?,
        };
        let fixed_length = tokens.shape[1];
        if style_width == 0 || fixed_length != -1 {
            return Err(refuse());
        }
        Ok(Self {
            tokens: tokens.input(),
            style: style.input(),
            speed: speed.input(),
            waveform: waveform.name().to_owned(),
            style_width,
        })
    }
}

/// Width of Kokoro's style vectors, for exports that leave it open.
const KOKORO_STYLE_WIDTH: usize = 256;

struct Tensor<'a> {
    name: &'a str,
    element: Element,
    shape: &'a [i64],
}

impl<'a> Tensor<'a> {
    fn of(outlet: &'a Outlet) -> Option<Self> {
        let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return None };
        let element = match ty {
            TensorElementType::Float32 => Element::F32,
            TensorElementType::Int32 => Element::I32,
            TensorElementType::Int64 => Element::I64,
            _ => return None,
        };
        Some(Self { name: outlet.name(), element, shape })
    }

    fn input(&self) -> Input {
        Input { name: self.name.to_owned(), element: self.element, rank: self.shape.len() }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tokens, style, speed, waveform, style_width } = self;
        write!(
            f,
            "{} {:?}[1, n], {} {:?}[1, {style_width}], {} {:?}[1] -> {waveform}",
            tokens.name, tokens.element, style.name, style.element, speed.name, speed.element
        )
    }
}
