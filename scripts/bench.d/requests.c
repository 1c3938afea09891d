/* requests WHAT COUNT: makes COUNT requests of one kind in the working directory and prints
 * "seconds S". WHAT: absent (stat of names never seen), open (open and close of `file`),
 * create (new files of 100 bytes), stat, read (open, read, close) and unlink of those. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns whether one request went as expected. */
static int ask(const char *what, long number)
{
    static char bytes[100];
    char name[64];
    struct stat status;
    int file, good;
    snprintf(name, sizeof(name), "%s.%ld", strcmp(what, "absent") ? "new" : "absent", number);
    if (!strcmp(what, "absent"))
        return lstat(name, &status) != 0;
    if (!strcmp(what, "stat"))
        return lstat(name, &status) == 0;
    if (!strcmp(what, "unlink"))
        return unlink(name) == 0;
    if (!strcmp(what, "open"))
        file = open("file", O_RDONLY);
    else if (!strcmp(what, "create"))
        file = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    else
        file = open(name, O_RDONLY);
    if (file < 0)
        return 0;
    good = !strcmp(what, "create") ? write(file, bytes, sizeof(bytes)) == sizeof(bytes)
         : !strcmp(what, "read")   ? read(file, bytes, sizeof(bytes)) == sizeof(bytes)
                                   : 1;
    return close(file) == 0 && good;
}

int main(int argc, char **argv)
{
    long count, wrong = 0;
    if (argc != 3)
        return 2;
    count = atol(argv[2]);
    double start = now();
    for (long number = 0; number < count; number++)
        wrong += !ask(argv[1], number);
    printf("seconds %.6f\n", now() - start);
    if (wrong)
        fprintf(stderr, "%ld of %ld requests not as expected\n", wrong, count);
    return wrong != 0;
}
