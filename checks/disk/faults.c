/* A library to be preloaded: calls for files below $FAULT_DIR fail with EIO, or end half
 * way, as long as the file $FAULT_FILE says so. It has the name of the call, and for
 * pread the place in the file from which on it fails: "write", "fsync", "read",
 * "pread 1000000". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the fault file says, if `fd` is of a file below the directory and `call` is meant;
 * the rest of the line, otherwise nothing. */
static int fails(const char *call, int fd, long long *from) {
  const char *directory = getenv("FAULT_DIR"), *file = getenv("FAULT_FILE");
  char link[64], path[4096], fault[64] = {0};
  long got;
  int control;
  if (!directory || !file) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  got = readlink(link, path, sizeof path - 1);
  if (got <= 0) return 0;
  path[got] = 0;
  if (strncmp(path, directory, strlen(directory)) != 0) return 0;
  control = open(file, O_RDONLY | O_CLOEXEC);
  if (control < 0) return 0;
  /* Not read(), which is one of those below. */
  got = syscall(SYS_read, control, fault, sizeof fault - 1);
  close(control);
  if (got <= 0) return 0;
  size_t length = strlen(call);
  if (strncmp(fault, call, length) != 0 || (fault[length] != ' ' && fault[length] != '\n')) return 0;
  *from = atoll(fault + length);
  return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  long long from;
  /* The first half is on the disk, and the rest isn't. */
  static __thread int half;
  if (fails("write", fd, &from)) {
    if (!half && count > 1) {
      half = 1;
      return syscall(SYS_write, fd, bytes, count / 2);
    }
    half = 0;
    errno = EIO;
    return -1;
  }
  return syscall(SYS_write, fd, bytes, count);
}

int fsync(int fd) {
  long long from;
  if (fails("fsync", fd, &from)) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fsync, fd);
}

ssize_t read(int fd, void *bytes, size_t count) {
  long long from;
  if (fails("read", fd, &from)) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_read, fd, bytes, count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
  long long from;
  if (fails("pread", fd, &from) && offset >= from) {
    errno = EIO;
    return -1;
  }
  return syscall(SYS_pread64, fd, bytes, count, offset);
}
