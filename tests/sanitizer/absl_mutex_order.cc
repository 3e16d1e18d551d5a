// Preloaded into TSan builds: tells TSan what absl::Mutex orders. Debian's gRPC is not
// instrumented, so without this every hand-over of an object from one of its threads to another
// looks like a race. Each function does what absl's own does, and names the mutex before it is left
// and once it is held.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"

// Only processes with TSan in them have these; a preloaded library reaches others too.
extern "C" {
void __tsan_acquire(void* address) __attribute__((weak));
void __tsan_release(void* address) __attribute__((weak));
}

namespace {

void Held(absl::Mutex* mutex) {
  if (__tsan_acquire != nullptr) __tsan_acquire(mutex);
}

void Left(absl::Mutex* mutex) {
  if (__tsan_release != nullptr) __tsan_release(mutex);
}

// The function of that mangled name in absl's library.
template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

namespace absl {

void Mutex::Lock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  real(this);
  Held(this);
}

void Mutex::Unlock() {
  static auto* const real = Real<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  Left(this);
  real(this);
}

bool Mutex::TryLock() {
  static auto* const real = Real<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool held = real(this);
  if (held) Held(this);
  return held;
}

void CondVar::Wait(Mutex* mutex) {
  static auto* const real =
      Real<void(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  Left(mutex);
  real(this, mutex);
  Held(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const real = Real<bool(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  Left(mutex);
  const bool timed_out = real(this, mutex, timeout);
  Held(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const real = Real<bool(CondVar*, Mutex*, Time)>(
      "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  Left(mutex);
  const bool timed_out = real(this, mutex, deadline);
  Held(mutex);
  return timed_out;
}

}  // namespace absl
