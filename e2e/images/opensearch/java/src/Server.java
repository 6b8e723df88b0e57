import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node with HTTP on port 9200 and its data in /data.
 *
 * <p>The launcher of the distribution requires bootstrap checks and a security manager, which a test in a container
 * does not need. The node is the same.
 */
public final class Server {
    private static final class Single extends Node {
        Single(Environment environment, Collection<Class<? extends Plugin>> plugins) {
            super(environment, plugins, false);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings =
                Settings.builder()
                        .put("path.home", "/data")
                        .put("cluster.name", "test")
                        .put("node.name", "single")
                        .put("discovery.type", "single-node")
                        .put("network.host", "0.0.0.0")
                        .put("http.port", 9200)
                        .put("http.type", "netty4")
                        .put("transport.type", "netty4")
                        // The node is small, and it shares its disk with other programs.
                        .put("node.processors", 1)
                        .put("node.store.allow_mmap", false)
                        .put("cluster.routing.allocation.disk.threshold_enabled", false)
                        .build();
        Environment environment =
                InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "single");
        Node node = new Single(environment, List.of(Netty4Plugin.class));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
        Thread.currentThread().join();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (java.io.IOException failed) {
            System.err.println(failed);
        }
    }
}
