#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

const char *fd_library_find(void *library, const fd_symbol *symbol, size_t n) {
    for (size_t i = 0; i < n; i++) {
        void *found = dlsym(library, symbol[i].name);
        if (!found) return symbol[i].name;
        memcpy(symbol[i].to, &found, sizeof found);        /* C has no conversion from objects to functions */
    }
    return NULL;
}
