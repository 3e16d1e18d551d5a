# HEADGATE_STATIC: links the archives (.a) of Debian's packages, for a binary that runs on a machine
# without those packages. gloo, prometheus-cpp, spdlog and fmt come without an archive: they stay
# shared, and a binary also looks for them in lib/ beside itself (tools/gpu/pack.sh fills it).

# `list_name`: every path in that list that names a shared library with an archive beside it
# becomes the archive's.
function(headgate_prefer_archives list_name)
  set(out "")
  foreach(item IN LISTS ${list_name})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${item}")
    if(archive MATCHES "^/.*\\.a$" AND EXISTS ${archive})
      list(APPEND out ${archive})
    else()
      list(APPEND out ${item})
    endif()
  endforeach()
  set(${list_name} ${out} PARENT_SCOPE)
endfunction()

get_directory_property(targets IMPORTED_TARGETS)
foreach(target IN LISTS targets)
  get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
  list(TRANSFORM configurations PREPEND "IMPORTED_LOCATION_" OUTPUT_VARIABLE locations)
  foreach(property IN ITEMS IMPORTED_LOCATION ${locations} INTERFACE_LINK_LIBRARIES)
    get_property(values TARGET ${target} PROPERTY ${property})
    if(values)
      headgate_prefer_archives(values)
      set_property(TARGET ${target} PROPERTY ${property} "${values}")
    endif()
  endforeach()
endforeach()

# What a shared library brings along and an archive leaves to its user.
target_link_libraries(protobuf::libprotobuf INTERFACE ZLIB::ZLIB)
target_link_libraries(OpenSSL::SSL INTERFACE OpenSSL::Crypto)
# gRPC's own finder names re2 by flag, which would pick the shared one.
find_library(HEADGATE_RE2 re2 REQUIRED)
set_property(TARGET re2::re2 PROPERTY INTERFACE_LINK_LIBRARIES ${HEADGATE_RE2} Threads::Threads)

# DT_RPATH rather than RUNPATH: it also serves the libraries that those in lib/ need.
list(APPEND CMAKE_BUILD_RPATH "\$ORIGIN/lib")
add_link_options(-Wl,--disable-new-dtags -Wl,--gc-sections)
