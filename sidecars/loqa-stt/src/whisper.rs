//! The one place that calls whisper.cpp: a loaded model, and the working state of
//! one worker. Safe to use from Rust; every `unsafe` block says why.
//!
//! It goes below `whisper_full`, which computes the spectrogram of a padded 30 s
//! window itself, runs two softmaxes over 51,864 logits in scalar code for each
//! token and reads the no-speech probability from the wrong row of the logits
//! when the prompt has more than one token. Encoder and decoder are the same.
//!
//! Deliberately absent: sampling and any judgement about the text, see
//! [`crate::decode`].

use crate::mel::MelWindow;
use crate::model_file::{self, ModelFileError, ModelHeader};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, Once, PoisonError};
use whisper_rs_sys as sys;

/// A token of the model's vocabulary.
pub type Token = sys::whisper_token;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not a usable model.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The header is right, but whisper.cpp refuses the rest.
    #[error("speech model `{}` was refused by whisper.cpp: {reason}; fetch it again, `loqa models verify` shows which files are bad", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What whisper.cpp said.
        reason: String,
    },
    /// No room for another working state.
    #[error("whisper.cpp cannot create a working state: {0}; is there enough memory?")]
    NoState(String),
}

/// whisper.cpp gave up in the middle of a decoding pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("whisper.cpp failed to {step}: {reason}")]
pub struct ComputeError {
    /// What it was doing.
    pub step: &'static str,
    /// What it said.
    pub reason: String,
}

/// Numbers of the tokens that are not text.
#[derive(Debug, Clone, Copy)]
pub struct SpecialTokens {
    /// Ends the transcript; every text token is smaller.
    pub end: Token,
    /// Begins the transcript.
    pub start: Token,
    /// Begins the text that came before, or words to expect.
    pub previous: Token,
    /// Asks for a transcript and not a translation.
    pub transcribe: Token,
    /// Asks for a transcript without timestamps.
    pub no_timestamps: Token,
    /// Its probability right after `start` says whether there was no speech.
    pub no_speech: Token,
}

/// Weights and vocabulary; shared by all workers, never changed after loading.
#[derive(Debug)]
pub struct Model {
    context: NonNull<sys::whisper_context>,
    /// What the file says about itself.
    pub header: ModelHeader,
    /// Tokens that are not text.
    pub special: SpecialTokens,
}

// SAFETY: after loading, whisper.cpp only reads the context; everything that a pass
// writes lies in the state that is passed along. (`whisper_full` and its relatives
// that keep a state inside the context are not called.)
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Checks and loads a model file.
    ///
    /// # Errors
    /// [`LoadError`] when the file is not a whisper.cpp model or is damaged.
    pub fn load(path: &Path) -> Result<Arc<Self>, LoadError> {
        install_log();
        take_complaint();
        let header = model_file::inspect(path)?;
        let refused = |reason| LoadError::Refused { path: path.to_owned(), reason };
        let c_path = path
            .to_str()
            .and_then(|path| CString::new(path).ok())
            .ok_or_else(|| refused("its path is not valid UTF-8".to_owned()))?;
        // SAFETY: plain data, returned by value.
        let mut params = unsafe { sys::whisper_context_default_params() };
        params.use_gpu = false;
        // The flash path attends to padding unless audio_ctx is a multiple of 256.
        params.flash_attn = false;
        // SAFETY: the path is a valid C string for the duration of the call; the file
        // was walked over, so that whisper.cpp does not run past its end.
        let context = unsafe { sys::whisper_init_from_file_with_params_no_state(c_path.as_ptr(), params) };
        let context = NonNull::new(context).ok_or_else(|| refused(take_complaint()))?;
        let raw = context.as_ptr();
        // SAFETY: the context was created above and is not null.
        let special = unsafe {
            SpecialTokens {
                end: sys::whisper_token_eot(raw),
                start: sys::whisper_token_sot(raw),
                previous: sys::whisper_token_prev(raw),
                transcribe: sys::whisper_token_transcribe(raw),
                no_timestamps: sys::whisper_token_not(raw),
                no_speech: sys::whisper_token_nosp(raw),
            }
        };
        Ok(Arc::new(Self { context, header, special }))
    }

    /// BCP 47 languages that the model transcribes; English first.
    #[must_use]
    pub fn languages(&self) -> Vec<&'static str> {
        let n_languages = if self.header.is_multilingual() {
            // whisper.cpp: 98 more than the special tokens of the first multilingual vocabulary.
            self.header.vocabulary as c_int - 51_765 - 1
        } else {
            1
        };
        (0..n_languages).map_while(language_name).collect()
    }

    /// The token that stands for a language of [`Model::languages`]; `None` when
    /// the model does not know it or is English only.
    #[must_use]
    pub fn language_token(&self, language: &str) -> Option<Token> {
        let id = self.languages().iter().position(|known| *known == language)?;
        self.header.is_multilingual().then(|| {
            // SAFETY: the context lives as long as `self`; the function only adds numbers.
            unsafe { sys::whisper_token_lang(self.context.as_ptr(), id as c_int) }
        })
    }

    /// Cuts text into tokens, for the prompt. Text with NUL bytes gives none.
    #[must_use]
    pub fn tokenize(&self, text: &str) -> Vec<Token> {
        let Ok(c_text) = CString::new(text) else { return Vec::new() };
        let mut tokens = vec![0; text.len() + 1];
        // SAFETY: the text is a valid C string and the buffer has the announced length;
        // a token covers at least one byte, so that it is always long enough.
        let n_tokens = unsafe {
            sys::whisper_tokenize(self.context.as_ptr(), c_text.as_ptr(), tokens.as_mut_ptr(), tokens.len() as c_int)
        };
        tokens.truncate(usize::try_from(n_tokens).unwrap_or(0));
        tokens
    }

    /// Bytes of a text token; they need not be UTF-8 for themselves.
    #[must_use]
    pub fn token_bytes(&self, token: Token) -> &[u8] {
        if token < 0 || token.unsigned_abs() >= self.header.vocabulary {
            return &[];
        }
        // SAFETY: the number lies within the vocabulary (else whisper.cpp would throw);
        // the string belongs to the context, which lives as long as `self`.
        unsafe {
            let text = sys::whisper_token_to_str(self.context.as_ptr(), token);
            if text.is_null() { &[] } else { CStr::from_ptr(text).to_bytes() }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: created in `load`, freed once; states hold an `Arc` of the model.
        unsafe { sys::whisper_free(self.context.as_ptr()) }
    }
}

/// What one worker computes with: buffers and the caches of the current pass.
#[derive(Debug)]
pub struct State {
    model: Arc<Model>,
    state: NonNull<sys::whisper_state>,
    n_threads: c_int,
    audio_ctx: c_int,
}

// SAFETY: a state has no ties to the thread that created it; `&mut self` on all
// computing methods keeps it with one thread at a time.
unsafe impl Send for State {}

impl State {
    /// Allocates a state that computes with `n_threads` threads.
    ///
    /// # Errors
    /// [`LoadError::NoState`] when memory does not suffice.
    pub fn new(model: Arc<Model>, n_threads: usize) -> Result<Self, LoadError> {
        // SAFETY: the context is valid as long as the `Arc` is held.
        let state = unsafe { sys::whisper_init_state(model.context.as_ptr()) };
        let state = NonNull::new(state).ok_or_else(|| LoadError::NoState(take_complaint()))?;
        let n_threads = c_int::try_from(n_threads.clamp(1, 64)).unwrap_or(1);
        Ok(Self { model, state, n_threads, audio_ctx: 0 })
    }

    /// The model it computes with.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Encodes a spectrogram; the audio context is half its frames. Cannot be interrupted.
    ///
    /// # Errors
    /// [`ComputeError`] when whisper.cpp gives up.
    pub fn encode(&mut self, mel: &MelWindow) -> Result<(), ComputeError> {
        let bands = self.model.header.mels as usize;
        let audio_ctx = mel.frames / 2;
        if mel.values.len() != bands * mel.frames || !(6..=self.model.header.audio_ctx as usize).contains(&audio_ctx) {
            return Err(ComputeError {
                step: "take the spectrogram",
                reason: format!("{} values for {bands} bands of {} frames", mel.values.len(), mel.frames),
            });
        }
        // SAFETY: the slice holds `frames * bands` values, as checked; whisper.cpp copies them.
        let code = unsafe {
            sys::whisper_set_mel_with_state(
                self.model.context.as_ptr(),
                self.state.as_ptr(),
                mel.values.as_ptr(),
                mel.frames as c_int,
                bands as c_int,
            )
        };
        check(code, "take the spectrogram")?;
        self.set_audio_ctx(audio_ctx as c_int)?;
        // SAFETY: context and state belong together and are alive.
        let code = unsafe {
            sys::whisper_encode_with_state(self.model.context.as_ptr(), self.state.as_ptr(), 0, self.n_threads)
        };
        check(code, "encode")
    }

    /// Feeds tokens at position `n_past` and returns the logits after the last of them.
    ///
    /// # Errors
    /// [`ComputeError`] when whisper.cpp gives up, or when the decoder's context is full.
    pub fn decode(&mut self, tokens: &[Token], n_past: usize) -> Result<&[f32], ComputeError> {
        if tokens.is_empty() || n_past + tokens.len() > self.model.header.text_ctx as usize {
            return Err(ComputeError {
                step: "decode",
                reason: format!("{} tokens after {n_past} do not fit the text context", tokens.len()),
            });
        }
        let n_tokens = tokens.len() as c_int;
        // SAFETY: context and state belong together; the tokens are copied. Their number
        // fits the batch, which is as long as the text context.
        let code = unsafe {
            sys::whisper_decode_with_state(
                self.model.context.as_ptr(),
                self.state.as_ptr(),
                tokens.as_ptr(),
                n_tokens,
                n_past as c_int,
                self.n_threads,
            )
        };
        check(code, "decode")?;
        let vocabulary = self.model.header.vocabulary as usize;
        // SAFETY: whisper.cpp resized the buffer to one row for each token and filled the
        // last one; it stays untouched until the next call, which needs `&mut self`.
        unsafe {
            let logits = sys::whisper_get_logits_from_state(self.state.as_ptr());
            Ok(std::slice::from_raw_parts(logits.add((tokens.len() - 1) * vocabulary), vocabulary))
        }
    }

    /// whisper.cpp has no function for it: only `whisper_full` takes an audio context.
    /// It keeps it in the state before it asks whether to begin, and the answer is no.
    fn set_audio_ctx(&mut self, audio_ctx: c_int) -> Result<(), ComputeError> {
        unsafe extern "C" fn do_not_begin(
            _: *mut sys::whisper_context,
            _: *mut sys::whisper_state,
            _: *mut c_void,
        ) -> bool {
            false
        }
        if self.audio_ctx == audio_ctx {
            return Ok(());
        }
        // SAFETY: plain data, returned by value; its language points to a literal.
        let mut params =
            unsafe { sys::whisper_full_default_params(sys::whisper_sampling_strategy_WHISPER_SAMPLING_GREEDY) };
        params.audio_ctx = audio_ctx;
        params.n_threads = self.n_threads;
        params.no_timestamps = true;
        params.print_progress = false;
        params.encoder_begin_callback = Some(do_not_begin);
        // SAFETY: context and state belong together; no samples are passed and none are
        // read when their number is 0; the callback has no user data.
        let code = unsafe {
            sys::whisper_full_with_state(self.model.context.as_ptr(), self.state.as_ptr(), params, std::ptr::null(), 0)
        };
        check(code, "set the audio context")?;
        self.audio_ctx = audio_ctx;
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: created in `new`, freed once, before the model.
        unsafe { sys::whisper_free_state(self.state.as_ptr()) }
    }
}

fn check(code: c_int, step: &'static str) -> Result<(), ComputeError> {
    if code == 0 { Ok(()) } else { Err(ComputeError { step, reason: format!("{} (code {code})", take_complaint()) }) }
}

fn language_name(id: c_int) -> Option<&'static str> {
    // SAFETY: the function accepts any number; names lie in a static table.
    unsafe {
        if id > sys::whisper_lang_max_id() {
            return None;
        }
        let name = sys::whisper_lang_str(id);
        if name.is_null() { None } else { CStr::from_ptr(name).to_str().ok() }
    }
}

/// The first error line of whisper.cpp or ggml that nobody has asked for yet: the
/// first one names the cause, those after it say that there was an error.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

fn take_complaint() -> String {
    let complaint = std::mem::take(&mut *COMPLAINT.lock().unwrap_or_else(PoisonError::into_inner));
    if complaint.is_empty() { "it gave no reason".to_owned() } else { complaint }
}

/// Sends what whisper.cpp and ggml print to tracing, at DEBUG: their idea of a
/// warning is not the user's. Their own default is standard error.
fn install_log() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the callback is a plain function without user data and never unwinds.
        unsafe {
            sys::whisper_log_set(Some(log), std::ptr::null_mut());
            sys::ggml_log_set(Some(log), std::ptr::null_mut());
        }
    });
}

unsafe extern "C" fn log(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: whisper.cpp passes a C string that lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    // The answer "no" in `set_audio_ctx` is reported as an error each time.
    if text.is_empty() || text.contains("encoder_begin_callback returned false") {
        return;
    }
    if level == sys::ggml_log_level_GGML_LOG_LEVEL_ERROR {
        let mut complaint = COMPLAINT.lock().unwrap_or_else(PoisonError::into_inner);
        if complaint.is_empty() {
            text.clone_into(&mut complaint);
        }
    }
    tracing::debug!(target: "whisper", "{text}");
}
