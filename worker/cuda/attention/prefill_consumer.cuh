// What the two computing warpgroups of the prefill kernel do: scores, softmax, weighted values, in
// the manner of FlashAttention-3 (Shah et al., 2024). Device code.
#pragma once

#include "worker/cuda/attention/prefill_softmax.cuh"
#include "worker/cuda/device/named_barrier.cuh"

namespace headgate {

// Steps between two looks at the largest score. To look costs a sixth of a step: scores seldom rise
// by what the weights cannot hold, and a tile where they did is computed again.
inline constexpr int kRaisePeriod = 16;

// The thread's part of its row's query as wgmma's first operand: 4 registers per 16 columns.
template <int kDim>
__device__ void LoadQueries(const AttentionCall& call, const Tile& tile, int row, int lane,
                            uint32_t (&q)[kDim / 16][4]) {
  const int64_t cols = (call.heads + 2 * call.kv_heads) * static_cast<int64_t>(kDim);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t token = (row + 8 * r) / tile.group;
    const __nv_bfloat16* from =
        call.qkv + (tile.sequence.offset + tile.first + int64_t{token}) * cols +
        (tile.head * tile.group + (row + 8 * r) % tile.group) * kDim + lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        q[k][part * 2 + r] =
            token < tile.tokens ? *reinterpret_cast<const uint32_t*>(from + k * 16 + part * 8) : 0u;
      }
    }
  }
}

// Void keys hold what other sequences or nobody wrote: a NaN times a weight of zero is a NaN.
template <int kDim>
__device__ void ZeroVoidValues(const Tile& tile, int32_t step, uint8_t* v, int thread) {
  using Layout = StepLayout<kDim>;
  constexpr int kPieces = kDim / 8;
  for (int i = thread; i < kKeys * kPieces; i += kConsumers) {
    const int key = i / kPieces, piece = i % kPieces;
    const int32_t box = step * kStepBoxes + key / kBoxKeys;
    bool is_void = box >= tile.boxes.count();
    if (!is_void) {
      const int run = tile.boxes.RunOf(box);
      is_void = tile.boxes.Position(box, run) + key % kBoxKeys >= tile.boxes.end[run];
    }
    if (!is_void) continue;
    uint8_t* to = v + piece / 8 * Layout::kAcross + key / 8 * Layout::kDown +
                  key % 8 * kSwizzleRowBytes + ((piece % 8) ^ (key % 8)) * 16;
    *reinterpret_cast<uint4*>(to) = uint4{};
  }
  FenceAsyncProxy();
  NamedBarrier(1, kConsumers);
}

// The warpgroups take turns to issue products, so that one's softmax runs under the other's
// products. A turn is a named barrier of both: one waits, the other arrives.
__device__ inline void TakeTurn(int warpgroup) { NamedBarrier(2 + warpgroup, kConsumers); }
__device__ inline void GiveTurn(int warpgroup) { NamedArrive(2 + warpgroup, kConsumers); }

// Computing and loading warps meet after a first run: does one ask for a second, careful one?
// Through memory, not by a named barrier: the two kinds come from different instructions.
template <int kDim>
__device__ bool AnyAsksAgain(PrefillShared<kDim>& shared, bool asks) {
  const bool leads = threadIdx.x % 32 == 0;
  if (__any_sync(~0u, asks) && leads) atomicOr(&shared.asked_again, 1);
  const uint32_t ran = SharedAddress(&shared.ran);
  if (leads) Arrive(ran);
  AwaitPhase(ran, 0);
  return shared.asked_again != 0;
}

// A warpgroup's 64 rows of the tile. All 128 threads call every member together.
template <int kDim>
class Consumer {
 public:
  __device__ Consumer(const AttentionCall& call, PrefillShared<kDim>& shared, int thread)
      : call_(call),
        shared_(shared),
        thread_(thread),
        lane_(thread % 32),
        warpgroup_(Uniform(thread / kGroupThreads)),
        row_(thread / 32 * 16 + lane_ / 4),
        scale_(1.4426950408889634f * rsqrtf(static_cast<float>(kDim))),
        steps_(Uniform(shared.tile.steps)),
        clear_pages_(Uniform(shared.tile.clear_pages)),
        clear_begin_(Uniform(shared.tile.clear_begin)),
        clear_end_(Uniform(shared.tile.clear_end)) {
    LoadQueries<kDim>(call, shared.tile, row_, lane_, q_);
  }

  // All steps. `careful`: the largest score is looked for at every step. `before`: steps that the
  // barriers have counted. False when the sums do not fit.
  __device__ __forceinline__ bool Run(bool careful, int32_t before) {
    Slot slot(before);
    softmax_ = Softmax();
#pragma unroll
    for (float& value : out_) value = 0.0f;
    AwaitPhase(SharedAddress(&shared_.k_full[slot.stage]), slot.phase);
    IssueScores(slot);
    WgmmaWait<0>();
    AfterWait(scores_);
    Release(&shared_.k_empty[slot.stage]);
    WeighCarefully(0);
    ToWeights(scores_, weights_);
    AwaitPhase(SharedAddress(&shared_.v_full[slot.stage]), slot.phase);
    if (warpgroup_ == 1) GiveTurn(0);
    int32_t step = 1;
    while (step < steps_) {
      const int32_t stop = careful ? step : PlainUntil(step);
      for (; step < stop; ++step) Step<true>(step, &slot);
      if (step < steps_) Step<false>(step++, &slot);
    }
    if (warpgroup_ == 0) TakeTurn(0);  // the last one that the other gave
    if (HasVoid(steps_ - 1)) ZeroVoid(steps_ - 1, slot);
    IssueValues(slot);
    WgmmaWait<0>();
    AfterWait(out_);
    Release(&shared_.v_empty[slot.stage]);
    const float totals[] = {softmax_.Total(0), softmax_.Total(1)};
    return Softmax::SumFits(totals[0]) && Softmax::SumFits(totals[1]);
  }

  __device__ void Store() {
    const Tile& tile = shared_.tile;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float factor = 1.0f / softmax_.Total(r);
      const int32_t token = (row_ + 8 * r) / tile.group;
      if (token >= tile.tokens) continue;
      const int32_t head = tile.head * tile.group + (row_ + 8 * r) % tile.group;
      __nv_bfloat16* to =
          call_.out +
          ((tile.sequence.offset + tile.first + int64_t{token}) * call_.heads + head) * kDim +
          lane_ % 4 * 2;
#pragma unroll
      for (int block = 0; block < kDim / 8; ++block) {
        *reinterpret_cast<uint32_t*>(to + block * 8) =
            PackBf16(out_[block * 4 + r * 2] * factor, out_[block * 4 + r * 2 + 1] * factor);
      }
    }
  }

 private:
  using Layout = StepLayout<kDim>;

  // Where a step's keys and values lie, and for which use of that stage to wait.
  struct Slot {
    uint32_t stage, phase;

    __device__ explicit Slot(uint32_t steps)
        : stage(Uniform(steps % kStages)), phase(Uniform(steps / kStages & 1)) {}
    __device__ void Advance() {
      const bool wraps = stage + 1 == kStages;
      stage = wraps ? 0 : stage + 1;
      phase ^= wraps ? 1 : 0;
    }
  };

  // Compilers then know that all threads of a warp hold the same.
  __device__ static int32_t Uniform(int32_t value) { return __shfl_sync(~0u, value, 0); }

  __device__ bool Clear(int32_t step) const {
    return step < clear_pages_ || (clear_begin_ <= step && step < clear_end_);
  }
  // The end of the plain steps that begin at `step`; `step` itself when that is none.
  __device__ int32_t PlainUntil(int32_t step) const {
    if (!Clear(step - 1)) return step;
    const int32_t end = step - 1 < clear_pages_ ? clear_pages_ : clear_end_;
    return max(step, min(end, (step + kRaisePeriod - 1) / kRaisePeriod * kRaisePeriod));
  }
  __device__ bool HasVoid(int32_t step) const {
    return !Clear(step) && shared_.tile.boxes.HasVoid(step * kStepBoxes, (step + 1) * kStepBoxes);
  }
  __device__ void ZeroVoid(int32_t step, const Slot& slot) {
    ZeroVoidValues<kDim>(shared_.tile, step, shared_.v[slot.stage], thread_);
  }
  // The stage may be overwritten.
  __device__ void Release(uint64_t* empty) {
    __syncwarp();
    if (lane_ == 0) Arrive(SharedAddress(empty));
  }

  // Issued; the caller waits.
  __device__ __forceinline__ void IssueScores(const Slot& slot) {
    const uint64_t keys = SmemDescriptor(SharedAddress(shared_.k), 16, Layout::kDown);
    const uint32_t at = static_cast<uint32_t>(keys) + slot.stage * (Layout::kBytes / 16);
    WgmmaBegin();
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      const uint32_t part = (i / 4 * Layout::kAcross + i % 4 * 32) / 16;
      WgmmaTransposed(scores_, q_[i], (keys >> 32 << 32) | (at + part), i > 0);
    }
    WgmmaCommit();
  }
  __device__ __forceinline__ void IssueValues(const Slot& slot) {
    const uint64_t values =
        SmemDescriptor(SharedAddress(shared_.v), Layout::kAcross, Layout::kDown);
    const uint32_t at = static_cast<uint32_t>(values) + slot.stage * (Layout::kBytes / 16);
    WgmmaBegin();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      WgmmaAdd(out_, weights_[k], (values >> 32 << 32) | (at + k * 2 * Layout::kDown / 16));
    }
    WgmmaCommit();
  }

  // With everything that a step may need: the mask and the largest score. Whether that rose.
  __device__ __forceinline__ bool WeighCarefully(int32_t step) {
    if (!Clear(step)) {
      Mask(shared_.tile, call_.tables.page_tokens, step, row_, lane_, scores_);
    }
    const bool raised = softmax_.Raise(scale_, scores_);
    softmax_.Weigh(scale_, scores_);
    return raised;
  }

  // Issues this step's scores and the values of the one before, which `slot` is of, then weighs the
  // scores. `kPlain`: all queries see all keys of both steps, and the base stays.
  template <bool kPlain>
  __device__ __forceinline__ void Step(int32_t step, Slot* slot) {
    const Slot before = *slot;
    slot->Advance();
    if (!kPlain && HasVoid(step - 1)) ZeroVoid(step - 1, before);  // both meet: not inside a turn
    AwaitPhase(SharedAddress(&shared_.k_full[slot->stage]), slot->phase);
    TakeTurn(warpgroup_);
    IssueScores(*slot);
    IssueValues(before);
    GiveTurn(1 - warpgroup_);
    WgmmaWait<1>();
    AfterWait(scores_);
    Release(&shared_.k_empty[slot->stage]);
    bool raised = false;
    if constexpr (kPlain) {
      softmax_.Weigh(scale_, scores_);
    } else {
      raised = WeighCarefully(step);
    }
    // Here and not before they are used: a wait keeps the compiler from moving the weighing behind
    // the end of the products that it is to overlap.
    AwaitPhase(SharedAddress(&shared_.v_full[slot->stage]), slot->phase);
    WgmmaWait<0>();
    AfterWait(out_);
    Release(&shared_.v_empty[before.stage]);
    if (!kPlain && raised) {
#pragma unroll
      for (int i = 0; i < kDim / 2; ++i) out_[i] *= softmax_.keep[i / 2 % 2];
    }
    ToWeights(scores_, weights_);
  }

  const AttentionCall& call_;
  PrefillShared<kDim>& shared_;
  const int thread_, lane_, warpgroup_, row_;
  const float scale_;
  const int32_t steps_, clear_pages_, clear_begin_, clear_end_;
  uint32_t q_[kDim / 16][4];
  float out_[kDim / 2], scores_[64];
  uint32_t weights_[kKeys / 16][4];
  Softmax softmax_;
};

}  // namespace headgate
