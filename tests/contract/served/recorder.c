/* Records, in their order, all writes, truncations, renames and syncs of some files, for a power cut afterwards.
 *
 * Preloaded into the real server or command. RECORD_FILES is the prefix of the paths that count (of a database itself,
 * -wal and -journal; the -shm file is memory and survives no power cut), RECORD_TO the file that gets one record an operation, written
 * before the operation's result is returned.
 *
 * A record: operation (1 byte: W, T, S; R a rename, its data the new path; M a new directory), length of the path (4
 * bytes), offset (8), length of the data (8), path, data; numbers in the machine's order.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 1024

static char *paths[MOST];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static int counts(const char *path) {
    const char *prefix = getenv("RECORD_FILES");
    size_t length = strlen(path);
    return prefix && strncmp(path, prefix, strlen(prefix)) == 0 && !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
}

static const char *path_of(int fd) {
    return fd >= 0 && fd < MOST ? paths[fd] : NULL;
}

static void record(char operation, const char *path, int64_t offset, const void *data, uint64_t length) {
    uint32_t named = strlen(path);
    struct iovec parts[6] = {
        {&operation, 1}, {&named, 4}, {&offset, 8}, {&length, 8}, {(void *)path, named}, {(void *)data, data ? length : 0},
    };
    if (out < 0) {
        int (*opened)(const char *, int, ...) = real("open64");
        out = opened(getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    ssize_t whole = 21 + named + (data ? (ssize_t)length : 0);
    if (writev(out, parts, 6) != whole)
        abort();
}

static int remember(int fd, const char *path) {
    if (fd >= 0 && fd < MOST) {
        pthread_mutex_lock(&order);
        free(paths[fd]);
        paths[fd] = counts(path) ? strdup(path) : NULL;
        pthread_mutex_unlock(&order);
    }
    return fd;
}

#define OPEN(name)                                                \
    int name(const char *path, int flags, ...) {                  \
        int (*next)(const char *, int, ...) = real(#name);        \
        va_list more;                                             \
        va_start(more, flags);                                    \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                             \
        return remember(next(path, flags, mode), path);           \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    int (*next)(int) = real("close");
    if (fd >= 0 && fd < MOST && paths[fd]) {
        pthread_mutex_lock(&order);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&order);
    }
    return next(fd);
}

#define PWRITE(name, offset_type)                                                     \
    ssize_t name(int fd, const void *data, size_t length, offset_type offset) {       \
        ssize_t (*next)(int, const void *, size_t, offset_type) = real(#name);        \
        if (!path_of(fd))                                                             \
            return next(fd, data, length, offset);                                    \
        pthread_mutex_lock(&order);                                                   \
        ssize_t written = next(fd, data, length, offset);                             \
        if (written > 0)                                                              \
            record('W', path_of(fd), offset, data, written);                          \
        pthread_mutex_unlock(&order);                                                 \
        return written;                                                               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
    ssize_t (*next)(int, const void *, size_t) = real("write");
    if (!path_of(fd))
        return next(fd, data, length);
    pthread_mutex_lock(&order);
    int64_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t written = next(fd, data, length);
    if (written > 0)
        record('W', path_of(fd), offset, data, written);
    pthread_mutex_unlock(&order);
    return written;
}

int rename(const char *from, const char *to) {
    int (*next)(const char *, const char *) = real("rename");
    if (!counts(to))
        return next(from, to);
    pthread_mutex_lock(&order);
    int failed = next(from, to);
    if (!failed)
        record('R', from, 0, to, strlen(to));
    pthread_mutex_unlock(&order);
    return failed;
}

int mkdir(const char *path, mode_t mode) {
    int (*next)(const char *, mode_t) = real("mkdir");
    if (!counts(path))
        return next(path, mode);
    pthread_mutex_lock(&order);
    int failed = next(path, mode);
    if (!failed)
        record('M', path, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return failed;
}

#define TRUNCATE(name, length_type)                                \
    int name(int fd, length_type length) {                         \
        int (*next)(int, length_type) = real(#name);               \
        if (!path_of(fd))                                          \
            return next(fd, length);                               \
        pthread_mutex_lock(&order);                                \
        int failed = next(fd, length);                             \
        if (!failed)                                               \
            record('T', path_of(fd), length, NULL, 0);             \
        pthread_mutex_unlock(&order);                              \
        return failed;                                             \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                 \
    int name(int fd) {                                             \
        int (*next)(int) = real(#name);                            \
        if (!path_of(fd))                                          \
            return next(fd);                                       \
        pthread_mutex_lock(&order);                                \
        int failed = next(fd);                                     \
        if (!failed)                                               \
            record('S', path_of(fd), 0, NULL, 0);                  \
        pthread_mutex_unlock(&order);                              \
        return failed;                                             \
    }
SYNC(fsync)
SYNC(fdatasync)
