//! Names of the bus headers. PCM travels as raw bytes; what JSON would say about
//! it stands in these headers.

/// `json` or `pcm`: how to read the payload of a streamed reply. Absent means `json`.
pub const KIND: &str = "Loqa-Kind";
/// Value of [`KIND`] for raw PCM.
pub const KIND_PCM: &str = "pcm";
/// Number of this frame or chunk within its stream, from 0.
pub const SEQ: &str = "Loqa-Seq";
/// On the message that ends an audio stream: how many samples were sent in all.
pub const END: &str = "Loqa-End";
/// `1` when the voice activity detector hears speech in this frame, `0` when not.
pub const VOICED: &str = "Loqa-Voiced";
/// W3C trace context of the span that sent the message.
pub const TRACEPARENT: &str = "traceparent";
/// How long what the message is about may be remembered, see [`crate::PrivacyScope`].
/// Absent means the least.
pub const PRIVACY: &str = "Loqa-Privacy";
