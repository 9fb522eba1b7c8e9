/* Looks each argument up as programs of this C library do: `NAME ADDRESSES MILLISECONDS`, a line each; `-` where there is no such name. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_socktype = SOCK_STREAM;
        long long begun = milliseconds();
        int fault = getaddrinfo(names[i], NULL, &hints, &found);
        long long took = milliseconds() - begun;
        printf("%s ", names[i]);
        /* -5 is EAI_NODATA, which POSIX has no more. */
        if (fault == EAI_NONAME || fault == -5) {
            printf("-");
        } else if (fault) {
            printf("fault:%d", fault);
        }
        for (struct addrinfo *at = found; at; at = at->ai_next) {
            char text[INET6_ADDRSTRLEN] = "?";
            const void *address = at->ai_family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr
                                                            : (const void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr;
            inet_ntop(at->ai_family, address, text, sizeof text);
            printf("%s%s", at == found ? "" : ",", text);
        }
        printf(" %lld\n", took);
        if (found) {
            freeaddrinfo(found);
        }
    }
    return 0;
}
