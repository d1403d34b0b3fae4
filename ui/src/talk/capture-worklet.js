// Runs on the browser's sound thread: copies the first channel and hands it over. Nothing else.
class Capture extends AudioWorkletProcessor {
  process(inputs) {
    const samples = inputs[0]?.[0];
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
}

registerProcessor("loqa-capture", Capture);
