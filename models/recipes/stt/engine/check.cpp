// Transcribes WAV files (16 kHz, mono, 16 bit) with unmodified whisper.cpp, one thread, greedy.
//   check MODEL.bin AUDIO_CTX < files.txt > results.tsv      AUDIO_CTX 0: the whole window, -1: cut to the clip
// Output lines: milliseconds <tab> no-speech probability <tab> mean token probability <tab> lowest token probability <tab> text
#include "whisper.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

static void quiet(enum ggml_log_level, const char *, void *) {}

static std::vector<float> samples(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    std::vector<float> out;
    for (size_t at = 12; at + 8 <= bytes.size();) {
        unsigned size;
        memcpy(&size, &bytes[at + 4], 4);
        if (!memcmp(&bytes[at], "data", 4)) {
            size_t n = std::min<size_t>(size, bytes.size() - at - 8) / 2;
            out.resize(n);
            for (size_t i = 0; i < n; i++) { short v; memcpy(&v, &bytes[at + 8 + 2 * i], 2); out[i] = v / 32768.f; }
            break;
        }
        at += 8 + size + (size & 1);
    }
    return out;
}

int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: check MODEL.bin AUDIO_CTX < files.txt\n"); return 2; }
    whisper_log_set(quiet, nullptr);
    auto options = whisper_context_default_params();
    options.use_gpu = false;
    options.flash_attn = false;
    whisper_context *context = whisper_init_from_file_with_params(argv[1], options);
    if (!context) { fprintf(stderr, "cannot load %s\n", argv[1]); return 3; }
    std::string path;
    while (std::getline(std::cin, path)) {
        auto pcm = samples(path);
        auto p = whisper_full_default_params(WHISPER_SAMPLING_GREEDY);
        int window = atoi(argv[2]);
        p.audio_ctx = window < 0 ? (int)(pcm.size() / 320) + 16 : window;
        p.n_threads = 1;
        p.greedy.best_of = 1;
        p.temperature_inc = 0;
        p.single_segment = p.no_context = true;
        p.print_progress = p.print_realtime = p.print_timestamps = false;
        auto began = std::chrono::steady_clock::now();
        whisper_full(context, p, pcm.data(), (int)pcm.size());
        double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
        std::string text;
        float no_speech = 0, lowest = 1, sum = 0;
        int count = 0;
        for (int i = 0; i < whisper_full_n_segments(context); i++) {
            text += whisper_full_get_segment_text(context, i);
            no_speech = whisper_full_get_segment_no_speech_prob(context, i);
            for (int j = 0; j < whisper_full_n_tokens(context, i); j++) {
                float q = whisper_full_get_token_p(context, i, j);
                lowest = std::min(lowest, q);
                sum += q;
                count++;
            }
        }
        printf("%.1f\t%.4f\t%.4f\t%.4f\t%s\n", ms, no_speech, count ? sum / count : 0, lowest, text.c_str());
        fflush(stdout);
    }
    whisper_free(context);
}
