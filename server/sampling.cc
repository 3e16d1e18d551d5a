#include "server/sampling.h"

#include <random>

namespace headgate {

SamplingParams ToSamplingParams(const v1::GenerateRequest& request) {
  const v1::Sampling& in = request.sampling();
  SamplingParams out;
  if (in.has_temperature()) out.temperature = in.temperature();
  if (in.has_top_k()) out.top_k = in.top_k();
  if (in.has_top_p()) out.top_p = in.top_p();
  if (in.has_min_p()) out.min_p = in.min_p();
  if (in.has_repetition_penalty()) out.repetition_penalty = in.repetition_penalty();
  if (in.has_presence_penalty()) out.presence_penalty = in.presence_penalty();
  if (in.has_frequency_penalty()) out.frequency_penalty = in.frequency_penalty();
  if (in.has_seed()) {
    out.seed = in.seed();
  } else {
    std::random_device device;
    out.seed = (uint64_t{device()} << 32) | device();
  }
  if (request.has_logprobs()) out.top_logprobs = request.logprobs();
  return out;
}

}  // namespace headgate
