/* look_up LIST [SUFFIX]: calls lstat on every name in LIST, one a line, relative to the
 * working directory, with SUFFIX appended; prints "seconds S". With a SUFFIX the names
 * have to be absent, without one they have to be there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    char line[8192], **names = NULL;
    const char *suffix = argc > 2 ? argv[2] : "";
    size_t count = 0, room = 0, wrong = 0;
    struct stat status;
    FILE *list = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (!list)
        return 2;
    while (fgets(line, sizeof line - 64, list)) {
        line[strcspn(line, "\n")] = 0;
        strncat(line, suffix, 32);
        if (count == room) {
            room = room ? 2 * room : 1024;
            names = realloc(names, room * sizeof *names);
            if (!names)
                return 2;
        }
        names[count++] = strdup(line);
    }
    double start = now();
    for (size_t i = 0; i < count; i++)
        if ((lstat(names[i], &status) == 0) == (*suffix != 0))
            wrong++;
    printf("seconds %.6f\n", now() - start);
    if (wrong)
        fprintf(stderr, "%zu of %zu look-ups not as expected\n", wrong, count);
    return wrong != 0;
}
