// The worker groups of a run and their faults. See simulation.h.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tests/sim/simulation.h"

namespace headgate::sim {
namespace {

constexpr int64_t kRestartMicrosMax = 3'000'000;
constexpr int64_t kStepMicrosMax = 20'000;
constexpr size_t kKeptMax = 64;

}  // namespace

int64_t Simulation::StepMicros(const ModelGroup& group) {
  int64_t us = random_.Between(500, 5'000) + 20 * group.tokens_in_front();
  if (!FaultsOn()) return us;
  if (random_.Chance(20)) us *= 10;
  if (random_.Chance(config_.stalls)) us *= 100;
  return us;
}

void Simulation::Schedule(int index) {
  GroupLife& group = groups_[static_cast<size_t>(index)];
  if (group.running_step || !group.model.alive() || group.model.queued() == 0) return;
  group.running_step = true;
  events_.Push(now_us_ + StepMicros(group.model), EventKind::kStepDone, index, group.life);
}

void Simulation::SendPlan(GroupPlan plan) {
  GroupLife& group = groups_[static_cast<size_t>(plan.group)];
  if (!group.told_up) {
    return Check(absl::InternalError("a plan for a group that is down"));
  }
  if (!group.model.alive()) return;  // lost: nobody has noticed the death yet
  Check(group.model.Receive(plan.plan, book_));
  for (size_t i = 0; i < kept_.size() && FaultsOn(); ++i) {
    // The worst moment for a result of an earlier life: when the step of the same number is
    // awaited.
    const StepResult& late = kept_[i].by_rank[0];
    if (kept_[i].group != plan.group || late.step != plan.plan.step) continue;
    events_.Push(now_us_ + random_.Between(0, 300), EventKind::kLateResult, plan.group, i);
  }
  Schedule(plan.group);
}

void Simulation::StepDone(int index, uint64_t life) {
  GroupLife& group = groups_[static_cast<size_t>(index)];
  if (group.life != life) return;  // it died meanwhile
  group.running_step = false;
  std::vector<StepResult> results;
  if (FaultsOn() && random_.Chance(config_.bad_results)) {
    const RequestId id = group.model.FinishStepWithALie(random_, book_, results);
    if (id != 0) must_fail_.push_back(id);
  } else {
    results = group.model.FinishStep(random_);
  }
  if (FaultsOn() && random_.Chance(config_.garbage)) {
    std::vector<StepResult> garbage = results;
    switch (random_.Between(0, 3)) {
      case 0:
        garbage.pop_back();
        break;
      case 1:
        garbage[0].sequences.emplace_back().sequence = 12345;
        break;
      case 2:
        garbage.back().step += static_cast<StepId>(random_.Between(1, 3));
        break;
      default:
        garbage.back().epoch += 1;
    }
    scheduler_.StepDone(index, garbage, Now());
  }
  const bool dies = FaultsOn() && random_.Chance(config_.deaths);
  const bool lost = dies && random_.Chance(500);
  if (FaultsOn() && (lost || random_.Chance(config_.duplicates)) && kept_.size() < kKeptMax) {
    kept_.push_back({index, results});
    events_.Push(now_us_ + random_.Between(0, 2 * kRestartMicrosMax), EventKind::kLateResult, index,
                 kept_.size() - 1);
  }
  if (!lost) scheduler_.StepDone(index, results, Now());
  if (dies) {
    must_fail_.clear();  // the lie may have been lost with the group
    Die(index);
    return;
  }
  Schedule(index);
}

void Simulation::LateResult(uint64_t index) {
  const KeptResult& kept = kept_[index];
  scheduler_.StepDone(kept.group, kept.by_rank, Now());
}

void Simulation::Die(int index) {
  GroupLife& group = groups_[static_cast<size_t>(index)];
  if (!group.model.alive()) return;
  group.model.Die();
  group.running_step = false;
  ++group.life;
  const int64_t noticed_us = now_us_ + random_.Between(0, 500'000);
  const int64_t back_us = noticed_us + random_.Between(0, kRestartMicrosMax);
  // Sometimes the new life is announced and the death never was.
  if (!random_.Chance(150)) events_.Push(noticed_us, EventKind::kDown, index);
  events_.Push(back_us, EventKind::kUp, index, group.life);
}

void Simulation::Up(int index) {
  GroupLife& group = groups_[static_cast<size_t>(index)];
  if (group.gone_for_good || group.model.alive()) return;
  if (FaultsOn() && random_.Chance(20)) {  // a worker that talks nonsense first
    GroupShape nonsense = group.shape;
    nonsense.epoch += 1;
    nonsense.page_tokens = 0;
    scheduler_.GroupUp(index, nonsense, Now()).IgnoreError();
  }
  const bool restarted = group.shape.epoch > 0;
  if (restarted && FaultsOn() && random_.Chance(200)) {
    for (RankShape& rank : group.shape.ranks) {
      rank.pages_total -= static_cast<uint32_t>(random_.Between(0, rank.pages_total / 4));
      if (random_.Chance(200)) rank.sequences_max = random_.Between(1, 12);
    }
  }
  group.shape.epoch += static_cast<Epoch>(random_.Between(1, 3));
  group.model.Boot(group.shape);
  group.running_step = false;
  group.told_up = true;
  group.longest = NaiveLongest(group.shape);
  if (longest_refusing_ < 0) longest_refusing_ = longest_known_;
  longest_known_ = -1;
  for (const GroupLife& other : groups_) longest_known_ = std::max(longest_known_, other.longest);
  if (longest_refusing_ < 0) longest_refusing_ = longest_known_;
  longest_refusing_ = std::min(longest_refusing_, longest_known_);
  CHECK(scheduler_.GroupUp(index, group.shape, Now()).ok());
  if (FaultsOn() && random_.Chance(50)) {  // and one that is late
    GroupShape late = group.shape;
    --late.epoch;
    scheduler_.GroupUp(index, late, Now()).IgnoreError();
  }
}

void Simulation::StopFaults() {
  faults_stopped_ = true;
  if (config_.mode == Mode::kSafety) return;
  // A fixed set of groups stays away for good; at least one serves.
  int alive = static_cast<int>(groups_.size());
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (alive == 1 || !random_.Chance(250)) continue;
    --alive;
    GroupLife& group = groups_[i];
    group.gone_for_good = true;
    group.model.Die();
    ++group.life;
    events_.Push(now_us_ + random_.Between(0, 500'000), EventKind::kDown, static_cast<int>(i));
  }
  // Bound: all that was ever asked for, computed alone, and again after each allowed preemption, in
  // slow steps; after everybody arrived and every group restarted.
  int64_t tokens = 0;
  for (RequestId id = 1; id <= book_.size(); ++id) {
    if (book_.client(id).live) tokens += book_.client(id).tokens_max();
  }
  tokens += arrivals_left_ * (config_.prompt_max + config_.output_max);
  liveness_until_us_ = now_us_ + 2 * kRestartMicrosMax + arrivals_left_ * config_.arrival_us_max +
                       8 * tokens * kStepMicrosMax;
}

}  // namespace headgate::sim
