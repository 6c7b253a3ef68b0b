#ifndef PITH_CORE_BASE_THREAD_NAME_H_
#define PITH_CORE_BASE_THREAD_NAME_H_

#include <pthread.h>

#include <string>

namespace pith {

// Names the calling thread for debuggers and top; the system keeps 15 bytes.
inline void SetThreadName(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

}  // namespace pith

#endif  // PITH_CORE_BASE_THREAD_NAME_H_
