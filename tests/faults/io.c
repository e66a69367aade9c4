/* Makes calls of a process fail as a disk would, for tests/disk_errors.rs. Loaded before the C library (LD_PRELOAD).
 *
 * FAULTS_IN names a directory: only files below it are meant. FAULTS_FROM names a file that says what happens: one line with the
 * name of a call, the number of the error, at which call it begins (from 1), and "once" or "on". Another line begins to count
 * anew; where there is no file, nothing fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last[256];
static long count;

/* Whether a file lies below the directory that is meant. */
static int is_meant(int fd)
{
	const char *directory = getenv("FAULTS_IN");
	char name[64], path[4096];
	ssize_t length;

	if (!directory)
		return 0;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	length = readlink(name, path, sizeof path - 1);
	if (length <= 0)
		return 0;
	path[length] = 0;
	return strncmp(path, directory, strlen(directory)) == 0;
}

/* The error that this call is to have, or 0. */
static int fault(const char *call, int fd)
{
	const char *from = getenv("FAULTS_FROM");
	char text[256] = "", name[64], mode[16];
	long at;
	int error, result = 0, control;
	ssize_t length;

	if (!from || !is_meant(fd))
		return 0;
	control = open(from, O_RDONLY | O_CLOEXEC);
	if (control < 0)
		return 0;
	length = read(control, text, sizeof text - 1);
	close(control);
	if (length <= 0)
		return 0;
	text[length] = 0;
	if (sscanf(text, "%63s %d %ld %15s", name, &error, &at, mode) != 4 || strcmp(name, call) != 0)
		return 0;
	pthread_mutex_lock(&lock);
	if (strcmp(text, last) != 0) {
		strcpy(last, text);
		count = 0;
	}
	count++;
	if (count == at || (count > at && strcmp(mode, "on") == 0))
		result = error;
	pthread_mutex_unlock(&lock);
	return result;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(call, fd)                                                                                                         \
	do {                                                                                                                   \
		int error = fault(call, fd);                                                                                   \
		if (error) {                                                                                                   \
			errno = error;                                                                                         \
			return -1;                                                                                             \
		}                                                                                                              \
	} while (0)

ssize_t write(int fd, const void *bytes, size_t size)
{
	FAIL("write", fd);
	return REAL(write)(fd, bytes, size);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
	FAIL("pwrite", fd);
	return REAL(pwrite64)(fd, bytes, size, at);
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t at)
{
	FAIL("pread", fd);
	return REAL(pread64)(fd, bytes, size, at);
}

int fdatasync(int fd)
{
	FAIL("fdatasync", fd);
	return REAL(fdatasync)(fd);
}

int fsync(int fd)
{
	FAIL("fsync", fd);
	return REAL(fsync)(fd);
}

int ftruncate64(int fd, off64_t size)
{
	FAIL("ftruncate", fd);
	return REAL(ftruncate64)(fd, size);
}
