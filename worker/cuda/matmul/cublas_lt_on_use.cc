// cuBLASLt's functions, bound to the library at the first call instead of at the program's start:
// loading it costs every process of ours, also those that never see a GPU, 0.1 s and 200 MB.
// Without the library each returns CUBLAS_STATUS_NOT_INITIALIZED. Any thread.
#include <cublasLt.h>
#include <dlfcn.h>

#define HEADGATE_TEXT_OF(x) #x
#define HEADGATE_TEXT(x) HEADGATE_TEXT_OF(x)

namespace {

constexpr char kLibrary[] = "libcublasLt.so." HEADGATE_TEXT(CUBLAS_VER_MAJOR);

// The function of that name and of the type of `stand_in`, or null. Never closed: plans and
// handles of the library live until the process ends.
template <typename Function>
Function* Bind(const char* name, Function* /*stand_in*/) {
  static void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

}  // namespace

// One definition: the parameters as the header declares them, then their names.
#define HEADGATE_ON_USE(name, parameters, arguments)            \
  cublasStatus_t CUBLASWINAPI name parameters {                 \
    static auto* const bound = Bind(#name, &name);              \
    if (bound == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED; \
    return bound arguments;                                     \
  }

extern "C" {
HEADGATE_ON_USE(cublasLtCreate, (cublasLtHandle_t * handle), (handle))
HEADGATE_ON_USE(cublasLtDestroy, (cublasLtHandle_t handle), (handle))
HEADGATE_ON_USE(cublasLtMatmulDescCreate,
                (cublasLtMatmulDesc_t * desc, cublasComputeType_t compute, cudaDataType_t scale),
                (desc, compute, scale))
HEADGATE_ON_USE(cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t desc), (desc))
HEADGATE_ON_USE(cublasLtMatmulDescSetAttribute,
                (cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                 const void* value, size_t bytes),
                (desc, attribute, value, bytes))
HEADGATE_ON_USE(cublasLtMatrixLayoutCreate,
                (cublasLtMatrixLayout_t * layout, cudaDataType type, uint64_t rows, uint64_t cols,
                 int64_t ld),
                (layout, type, rows, cols, ld))
HEADGATE_ON_USE(cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout), (layout))
HEADGATE_ON_USE(cublasLtMatrixLayoutSetAttribute,
                (cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute,
                 const void* value, size_t bytes),
                (layout, attribute, value, bytes))
HEADGATE_ON_USE(cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * preference),
                (preference))
HEADGATE_ON_USE(cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference),
                (preference))
HEADGATE_ON_USE(cublasLtMatmulPreferenceSetAttribute,
                (cublasLtMatmulPreference_t preference,
                 cublasLtMatmulPreferenceAttributes_t attribute, const void* value, size_t bytes),
                (preference, attribute, value, bytes))
HEADGATE_ON_USE(cublasLtMatmulAlgoGetHeuristic,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                 cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                 cublasLtMatmulPreference_t preference, int wanted,
                 cublasLtMatmulHeuristicResult_t results[], int* found),
                (handle, desc, a, b, c, d, preference, wanted, results, found))
HEADGATE_ON_USE(cublasLtMatmulAlgoCheck,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                 cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                 const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result),
                (handle, desc, a, b, c, d, algorithm, result))
HEADGATE_ON_USE(cublasLtMatmul,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                 const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                 cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                 cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                 const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                 cudaStream_t stream),
                (handle, desc, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout,
                 algorithm, workspace, workspace_bytes, stream))
}  // extern "C"
