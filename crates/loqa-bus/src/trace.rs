//! Trace context of outgoing messages.

/// The W3C `traceparent` of the current span, when there is one.
pub(crate) fn current_traceparent() -> Option<String> {
    None
}
