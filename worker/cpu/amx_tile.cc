// AMX permission and probe. Compiled with AMX flags: nothing here may run before detection except
// RequestAmxPermission, which is a plain system call.
#include "worker/cpu/amx_tile.h"

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "worker/cpu/amx_config.h"

namespace headgate {

bool RequestAmxPermission() {
  constexpr long kArchReqXcompPerm = 0x1023;  // Linux, arch/x86/include/uapi/asm/prctl.h
  constexpr long kXfeatureXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtileData) == 0;
}

bool AmxProductIsRight() {
  alignas(64) uint16_t a[16 * 32];
  alignas(64) uint16_t b[16 * 32];
  alignas(64) float c[16 * 16];
  for (int i = 0; i < 16 * 32; ++i) {
    a[i] = 0x4000;  // 2
    b[i] = 0x4040;  // 3
  }
  ConfigureTiles(16);
  _tile_zero(0);
  asm volatile("" ::: "memory");
  _tile_loadd(4, a, 64);
  _tile_loadd(6, b, 64);
  _tile_dpbf16ps(0, 4, 6);
  _tile_stored(0, c, 64);
  _tile_release();
  for (float value : c) {
    if (!(value == 2.0f * 3.0f * 32.0f)) return false;
  }
  return true;
}

}  // namespace headgate
