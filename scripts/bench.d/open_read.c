/* open_read LIST: opens, reads to the end and closes every file named in LIST, one name
 * a line, relative to the working directory; prints "seconds S". */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 20];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    char line[8192], **names = NULL;
    size_t count = 0, room = 0;
    FILE *list = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!list)
        return 2;
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        if (count == room) {
            room = room ? 2 * room : 1024;
            names = realloc(names, room * sizeof *names);
            if (!names)
                return 2;
        }
        names[count++] = strdup(line);
    }
    double start = now();
    for (size_t i = 0; i < count; i++) {
        ssize_t n;
        int file = open(names[i], O_RDONLY);
        if (file < 0) {
            perror(names[i]);
            return 1;
        }
        while ((n = read(file, buffer, sizeof buffer)) > 0)
            ;
        if (n < 0) {
            perror(names[i]);
            return 1;
        }
        close(file);
    }
    printf("seconds %.6f\n", now() - start);
    return 0;
}
